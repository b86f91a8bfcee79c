import { createHash } from 'node:crypto';
import { type ApiClient, Refusal } from './api-client';
import type { History } from './history';
import { keyOf } from './keys';

interface Movement {
  readonly kind: string;
  readonly onHandDelta: number;
  readonly reason: string | null;
}

interface Sale {
  readonly reference: string;
  readonly quantity: number;
}

/** How the reasons of the importer's adjustments begin. */
const soldIn = 'import: sold in ';
const takenBackFrom = 'import: taken back from ';
/** The reason that earlier releases gave. */
const withoutOrders = 'import of sold goods';
const maxReasonLength = 500;

/**
 * Stock for the goods that a history sells: each product gets as many pieces as its orders take. Exports overlap and
 * imports are broken off, so the number is not derived from the file alone. The reason of each adjustment names the
 * orders that it is for, and the product's ledger on the server thus tells which ones have their pieces already.
 */
export class OpeningStock {
  constructor(
    private readonly api: ApiClient,
    private readonly history: History,
  ) {}

  /** Adds what the orders of the file take and have not been given yet. */
  async fill(sku: string, productId: string): Promise<void> {
    let adjustments = await this.readLedger(sku, productId);
    for (;;) {
      const sales = this.history.scratch.all<Sale>(
        `select reference, sum(quantity) as quantity from lines l where sku = ?1 and not exists (
           select 1 from opened o where o.sku = ?1 and o.reference = l.reference and o.quantity > 0)
         group by reference order by reference limit 100`,
        sku,
      );
      if (sales.length === 0) return;
      adjustments = await this.adjust(sku, productId, soldIn, sales, adjustments);
    }
  }

  /**
   * Takes away what was added for orders that came to nothing: nobody else shall buy goods that are not there. What an
   * order with this reference has taken all the same, by an earlier import, stays with it (table `consumed`).
   */
  async takeBack(sku: string, productId: string): Promise<void> {
    const adjustments = await this.readLedger(sku, productId);
    const surplus = this.history.scratch.all<Sale>(
      `select o.reference, o.quantity - coalesce(c.quantity, 0) as quantity
       from opened o join orders mine using (reference) left join consumed c using (sku, reference)
       where o.sku = ? and mine.failed = 1 and o.quantity > coalesce(c.quantity, 0) order by o.reference`,
      sku,
    );
    if (surplus.length > 0) await this.adjust(sku, productId, takenBackFrom, surplus, adjustments);
  }

  /** @returns how many adjustments the ledger has by now: the number of the next one */
  private async adjust(
    sku: string,
    productId: string,
    how: typeof soldIn | typeof takenBackFrom,
    sales: readonly Sale[],
    adjustments: number,
  ): Promise<number> {
    const sign = how === soldIn ? 1 : -1;
    for (const { reason, included } of reasonsFor(how, sales)) {
      const delta = sign * included.reduce((sum, { quantity }) => sum + quantity, 0);
      // the number tells a second opening of the same orders, after they were taken back, from a repeat of the first
      const key = keyOf('stock', sku, String(adjustments), reason.length < 120 ? reason : hashOf(reason));
      await this.api.post(`/v1/products/${productId}/stock-adjustments`, key, { delta, reason });
      adjustments += 1;
      for (const { reference, quantity } of included) this.note(sku, reference, sign * quantity);
    }
    return adjustments;
  }

  /**
   * Notes in the scratch file for which orders the product was given pieces.
   *
   * @returns the number of adjustments by imports
   */
  private async readLedger(sku: string, productId: string): Promise<number> {
    const { scratch } = this.history;
    scratch.run('delete from opened where sku = ?', sku);
    let adjustments = 0;
    for await (const movement of this.api.list<Movement>(`/v1/products/${productId}/stock-movements`)) {
      if (movement.kind !== 'adjusted') continue;
      if (movement.reason === withoutOrders) {
        const detail = `${sku} has stock by the importer of an earlier release, which does not say for which orders`;
        throw new Refusal(409, 'earlier-release', `${detail}: import into a database without it.`);
      }
      const entries = entriesOf(movement.reason ?? '');
      if (entries) adjustments += 1;
      // a delivery or a count: what is on sale then follows from more than imports
      else scratch.run('update products set checked = 0 where sku = ?', sku);
      for (const { reference, quantity } of entries ?? []) this.note(sku, reference, quantity);
    }
    return adjustments;
  }

  private note(sku: string, reference: string, quantity: number): void {
    this.history.scratch.run(
      `insert into opened (sku, reference, quantity) values (?, ?, ?)
       on conflict do update set quantity = quantity + excluded.quantity`,
      ...[sku, reference, quantity],
    );
  }
}

/** As few texts as possible that name all sales, such as `import: sold in 536365 ×6, 536373 ×12`. */
function* reasonsFor(how: string, sales: readonly Sale[]): Generator<{ reason: string; included: Sale[] }> {
  let reason = '';
  let included: Sale[] = [];
  for (const sale of sales) {
    const entry = `${sale.reference.replace(/[%,]/g, encodeURIComponent)} ×${sale.quantity}`;
    if (included.length > 0 && reason.length + 2 + entry.length > maxReasonLength) {
      yield { reason, included };
      included = [];
    }
    reason = included.length === 0 ? how + entry : `${reason}, ${entry}`;
    included.push(sale);
  }
  yield { reason, included };
}

/** @returns undefined for a reason that no import gave; what was taken back counts negative */
function entriesOf(reason: string): Sale[] | undefined {
  const how = [soldIn, takenBackFrom].find((each) => reason.startsWith(each));
  if (how === undefined) return undefined;
  const sign = how === soldIn ? 1 : -1;
  return reason
    .slice(how.length)
    .split(', ')
    .flatMap((entry) => {
      const [, reference, quantity] = /^(.+) ×(\d+)$/.exec(entry) ?? [];
      if (reference === undefined) return [];
      return [{ reference: decodeURIComponent(reference), quantity: sign * Number(quantity) }];
    });
}

const hashOf = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 32);
