import { setTimeout as delay } from 'node:timers/promises';
import { Accounts } from './accounts';
import { type Answer, type ApiClient, Refusal } from './api-client';
import type { Goods, History, Invoice } from './history';
import { keyOf, skuKey } from './keys';
import { OpeningStock } from './opening-stock';
import type { Progress } from './progress';
import type { PricedLine } from './settle';

/** Something that the server refused, or that came to another end than it should. */
export interface Failure {
  readonly what: 'customer' | 'product' | 'order';
  /** As the file has it. */
  readonly id: string;
  readonly reason: string;
}

interface Order {
  readonly id: string;
  readonly status: string;
  readonly shipmentId: string | null;
  readonly cancellation: { readonly reason: string; readonly step?: string } | null;
}

/** Of an order, what tells it from another one. */
interface OrderWithLines extends Order {
  readonly orderedAt: string;
  readonly customerId: string | null;
  readonly lines: readonly {
    readonly sku: string;
    readonly quantity: number;
    readonly unitPrice: { amountMinor: number };
  }[];
}

/** An order that does not move for so long is reported as stuck. */
const stuckMs = 90_000;
/** How many failures are kept for people to read; the report has all of them. */
const keptFailures = 1000;

/** Code of the refusal of an order that an earlier import placed otherwise. */
const differently = 'imported-differently';

/** Sends a history to the server, phase by phase, and notes in it what is there. */
export class Replay {
  readonly failures: Failure[] = [];
  private readonly stock: OpeningStock;
  private readonly accounts: Accounts;

  constructor(
    private readonly api: ApiClient,
    private readonly history: History,
    private readonly currency: string,
    private readonly progress: Progress,
    private readonly options: { readonly concurrency: number; readonly signal?: AbortSignal },
  ) {
    this.stock = new OpeningStock(api, history);
    this.accounts = new Accounts(api, history);
  }

  customers(): Promise<void> {
    const { totals, scratch } = this.history;
    return this.each(
      'customer',
      this.history.customers(),
      totals.customers,
      ({ id }) => id,
      async (customer) => {
        const userId = await this.accounts.open(customer);
        scratch.run('update customers set user_id = ? where id = ?', userId, customer.id);
      },
    );
  }

  products(): Promise<void> {
    const { totals, scratch } = this.history;
    return this.each(
      'product',
      this.history.products(),
      totals.products,
      ({ sku }) => sku,
      async (goods) => {
        const id = await this.list(goods);
        await this.stock.fill(goods.sku, id);
        scratch.run('update products set product_id = ? where sku = ?', id, goods.sku);
      },
    );
  }

  async orders(): Promise<void> {
    const { totals, scratch } = this.history;
    const orders = this.history.orders();
    await this.each(
      'order',
      orders,
      totals.orders,
      ({ reference }) => reference,
      (invoice) => this.carryOut(invoice),
    );
    if (this.options.signal?.aborted) return;
    // orders that came to nothing leave no goods on sale
    const left = scratch.all<{ sku: string; productId: string }>(
      `select sku, product_id as productId from products where product_id is not null and sku in (
         select l.sku from orders o join lines l using (reference) where o.failed = 1)`,
    );
    await this.each(
      'product',
      left,
      left.length,
      ({ sku }) => sku,
      ({ sku, productId }) => this.stock.takeBack(sku, productId),
    );
  }

  /** Works through `items` in their order, `concurrency` at a time; a refusal concerns one item, not the others. */
  private async each<T>(
    what: Failure['what'],
    items: Iterable<T>,
    total: number,
    idOf: (item: T) => string,
    work: (item: T) => Promise<void>,
  ): Promise<void> {
    if (this.options.signal?.aborted) return;
    const phase = this.progress.start(`${what}s`, total);
    const queue = items[Symbol.iterator]();
    let broken = false;
    const worker = async () => {
      for (let next = queue.next(); !next.done; next = queue.next()) {
        const item = next.value;
        try {
          await work(item);
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          this.fail({ what, id: idOf(item), reason: error.message });
        }
        phase.advance();
        if (broken || this.options.signal?.aborted) return;
      }
    };
    const stopOthers = (error: unknown) => {
      broken = true;
      throw error;
    };
    try {
      const workers = Array.from({ length: this.options.concurrency }, () => worker().catch(stopOthers));
      const broke = (await Promise.allSettled(workers)).find((each) => each.status === 'rejected');
      // an interruption while the server is away ends like any other
      if (broke && !this.options.signal?.aborted) throw broke.reason;
    } finally {
      phase.end();
    }
  }

  private fail(failure: Failure): void {
    const { what, id, reason } = failure;
    if (this.failures.length < keptFailures) this.failures.push(failure);
    this.history.remark({
      reference: what === 'order' ? id : undefined,
      sku: what === 'product' ? id : undefined,
      reason: `${what} ${id}: ${reason}`,
    });
  }

  private async list({ sku, spelled, name, priceMinor }: Goods): Promise<string> {
    const path = encodeURIComponent(spelled);
    try {
      const body = { sku: spelled, name, price: { amountMinor: priceMinor, currency: this.currency } };
      return (await this.api.post<{ id: string }>('/v1/products', keyOf('product', sku), body)).body.id;
    } catch (error) {
      // reused: by an import of another file, in which it had another name or first price
      if (!(error instanceof Refusal) || !['sku-taken', 'idempotency-key-reused'].includes(error.code)) throw error;
      const find = async (archived: boolean) =>
        (await this.api.get<{ data: { id: string }[] }>(`/v1/products?sku=${path}&archived=${archived}`)).data[0];
      // nothing new can be sold of one that is archived; what was sold stays
      const product = (await find(false)) ?? (await find(true));
      if (!product) throw new Refusal(409, error.code, `There is a product ${spelled}, but it cannot be found.`);
      if (error.code === 'sku-taken') this.history.scratch.run('update products set checked = 0 where sku = ?', sku);
      return product.id;
    }
  }

  /** From nothing, or from wherever an earlier run left it, to its end. */
  private async carryOut(invoice: Invoice): Promise<void> {
    const { scratch } = this.history;
    try {
      const { id } = await this.bringToEnd(invoice);
      scratch.run('update orders set order_id = ?, done = 1 where reference = ?', id, invoice.reference);
    } catch (error) {
      const isFinal = error instanceof Refusal && error.code !== 'stuck';
      if (isFinal && (error.code === differently || !(await this.isPlaced(invoice)))) {
        scratch.run('update orders set failed = 1 where reference = ?', invoice.reference);
      }
      throw error;
    }
  }

  /** An earlier import placed it, and it has its goods: whatever failed now, they are not taken back. */
  private async isPlaced({ reference, orderedAt }: Invoice): Promise<boolean> {
    for await (const order of this.api.list<OrderWithLines>(`/v1/orders?reference=${encodeURIComponent(reference)}`)) {
      if (order.status !== 'cancelled' && Date.parse(order.orderedAt) === Date.parse(orderedAt)) return true;
    }
    return false;
  }

  private async bringToEnd(invoice: Invoice): Promise<Order> {
    const placed = await this.place(invoice);
    const { id } = placed.body;
    const read = () => this.api.get<Order>(`/v1/orders/${id}`);
    let order = placed.replayed ? await read() : placed.body;
    let moved = performance.now();
    let sent = false;
    for (let attempt = 0; !hasArrived(order, invoice); attempt++) {
      if (order.status === 'cancelled') throw new Refusal(409, 'cancelled', describeCancellation(order));
      if (!sent && (order.status === 'fulfilling' || order.status === 'shipped')) {
        await this.send(order);
        sent = true;
      }
      await delay(Math.min(5 * 2 ** attempt, 1000));
      const before = order.status;
      order = await read();
      if (order.status !== before) {
        moved = performance.now();
        attempt = 0;
      } else if (performance.now() - moved > stuckMs) {
        const hint = `see GET /v1/operations/sagas and /v1/operations/dead-letters, order ${id}`;
        throw new Refusal(409, 'stuck', `The order has been ${order.status} for ${stuckMs / 1000} s: ${hint}.`);
      }
    }
    return order;
  }

  private async place(invoice: Invoice): Promise<Answer<Order>> {
    const { reference, orderedAt, customerId, countryCode, address } = invoice;
    const userId = customerId && this.history.userIdOf(customerId);
    if (customerId && !userId) throw missing(`customer ${customerId}`);
    const name = address.name || 'Guest';
    const unknown = 'not in the data';
    const { line1, line2, postalCode, city } = address;
    const lines = this.history.linesOf(reference);
    const body = {
      ...(userId ? { customerId: userId } : { guest: { name } }),
      reference,
      orderedAt,
      paymentMethod: 'sandbox_ok',
      shippingAddress: { name, line1: line1 || unknown, line2, postalCode, city: city || unknown, countryCode },
      lines: lines.map(({ sku, quantity, unitPriceMinor }) => {
        const productId = this.history.productIdOf(sku);
        if (!productId) throw missing(`product ${sku}`);
        return { productId, quantity, unitPrice: { amountMinor: unitPriceMinor, currency: this.currency } };
      }),
      submit: true,
    };
    try {
      return await this.api.post<Order>('/v1/orders', keyOf('order', reference), body, { Prefer: 'wait=20' });
    } catch (error) {
      if (!(error instanceof Refusal) || error.code !== 'idempotency-key-reused') throw error;
      return { body: await this.findPlaced(invoice, lines, userId), replayed: true };
    }
  }

  /**
   * The order that an earlier import placed under this reference, if it is the same but for its address or the order of
   * its lines: exports change in such things.
   *
   * @throws Refusal when it is another one
   */
  private async findPlaced(invoice: Invoice, lines: readonly PricedLine[], userId?: string): Promise<Order> {
    const { reference, orderedAt } = invoice;
    const { scratch } = this.history;
    const path = `/v1/orders?reference=${encodeURIComponent(reference)}`;
    let differs = 'other lines';
    for await (const { id } of this.api.list<Order>(path)) {
      const order = await this.api.get<OrderWithLines>(`/v1/orders/${id}`);
      const placed = order.lines.map(({ sku, quantity, unitPrice }) => {
        return { sku: skuKey(sku), quantity, unitPriceMinor: unitPrice.amountMinor };
      });
      const sameTime = Date.parse(order.orderedAt) === Date.parse(orderedAt);
      const sameLines = listOf(placed) === listOf(lines);
      if (sameTime && sameLines && (order.customerId ?? undefined) === userId) return order;
      if (order.status === 'cancelled') continue;
      differs = sameLines ? (sameTime ? 'another customer' : `another date, ${order.orderedAt}`) : 'other lines';
      for (const { sku, quantity } of placed) {
        scratch.run(
          `insert into consumed (sku, reference, quantity) values (?, ?, ?)
           on conflict do update set quantity = quantity + excluded.quantity`,
          ...[sku, reference, quantity],
        );
      }
    }
    throw new Refusal(
      422,
      differently,
      `It has been imported with ${differs} before. That order stays as it is: correct it on the server if need be.`,
    );
  }

  /** Saying so again changes nothing, and a parcel that is ahead of us was sent by an earlier run. */
  private async send({ id, status, shipmentId }: Order): Promise<void> {
    for (const action of status === 'shipped' ? ['deliver'] : ['dispatch', 'deliver']) {
      try {
        await this.api.post(`/v1/shipments/${shipmentId}/${action}`, keyOf(action, id));
      } catch (error) {
        const ahead = error instanceof Refusal && ['shipment-dispatched', 'shipment-delivered'].includes(error.code);
        if (!ahead) throw error;
      }
    }
  }
}

function missing(what: string): Refusal {
  return new Refusal(409, 'missing', `Its ${what} could not be created.`);
}

function describeCancellation({ cancellation }: Order): string {
  const step = cancellation?.step ? `, in step ${cancellation.step}` : '';
  return `The order was cancelled${step}: ${cancellation?.reason ?? 'no reason given'}`;
}

/** An order that is not to be sent may have been sent on the server since. */
function hasArrived({ status }: Order, { target }: Invoice): boolean {
  return status === 'completed' || (target === 'fulfilling' && ['fulfilling', 'shipped', 'delivered'].includes(status));
}

const listOf = (lines: readonly PricedLine[]) =>
  lines
    .map(({ sku, quantity, unitPriceMinor }) => JSON.stringify([sku, quantity, unitPriceMinor]))
    .sort()
    .join();
