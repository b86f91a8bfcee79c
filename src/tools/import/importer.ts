import { setTimeout as delay } from 'node:timers/promises';
import { type Answer, ApiClient, Refusal } from './api-client';
import { type Check, check } from './check';
import { countryCode } from './countries';
import { ImportError } from './import-error';
import { type Output, Progress } from './progress';
import { type Goods, type History, type Invoice, readHistory } from './read-history';

export interface ImportOptions {
  readonly file: string;
  /** Where the app listens, such as `http://127.0.0.1:3000`. */
  readonly url: string;
  /** Of an account with role staff. The same one every time: idempotency keys belong to whoever sends them. */
  readonly email: string;
  readonly password: string;
  /** How many requests, or orders, are under way at a time. */
  readonly concurrency: number;
  /** ISO 4217, of all prices in the file; default GBP. */
  readonly currency?: string;
  /** Ends the import after what is in flight. */
  readonly signal?: AbortSignal;
  /** Where to show progress; default: nowhere. */
  readonly out?: Output;
}

/** Something that the server refused, or that came to another end than `completed`. */
export interface Failure {
  readonly what: 'customer' | 'product' | 'order';
  /** CustomerID, StockCode or InvoiceNo of the file. */
  readonly id: string;
  readonly reason: string;
}

export interface Summary {
  readonly history: History;
  readonly currency: string;
  /** What is on the server now, be it from this run or from an earlier one; amounts in integer minor units. */
  readonly customers: number;
  readonly products: number;
  readonly orders: { readonly completed: number; readonly lines: number; readonly totalMinor: number };
  /** Skus that somebody else had created before: used as they are, their stock is not ours to check. */
  readonly foreignProducts: readonly string[];
  readonly failures: readonly Failure[];
  readonly durationMs: number;
  /** Of the orders alone. */
  readonly ordersMs: number;
  /** Stopped before everything was sent. */
  readonly interrupted: boolean;
  /** Asked over the API when all was sent; none when interrupted. */
  readonly check?: Check;
  /** Everything in the file that can be sold is on the server, to the penny. */
  readonly ok: boolean;
}

/**
 * Replays an order history through the REST API: customers, products with exactly the stock that is sold, then each
 * order up to its delivery. Running it again, wherever it was stopped, changes nothing that is there already: keys
 * derive from the numbers in the file, and the server derives the ids of what it creates from keys.
 *
 * @throws ImportError when nothing, or nothing more, can be sent
 */
export async function importHistory(options: ImportOptions): Promise<Summary> {
  const { currency = 'GBP', signal } = options;
  const begun = performance.now();
  const history = await readHistory(options.file, currency);
  const progress = new Progress(options.out);
  const api = new ApiClient({ ...options, onWaiting: (why) => progress.note(why) });
  await api.signIn();

  const run = new Run(api, history, currency, progress, options);
  await run.customers();
  await run.products();
  const ordersBegun = performance.now();
  await run.orders();
  const ordersMs = performance.now() - ordersBegun;

  const interrupted = signal?.aborted ?? false;
  const { customerIds, productIds, completed, failures, foreignProducts } = run;
  const checked = interrupted ? undefined : await check(api, history, productIds, foreignProducts, options.concurrency);
  const sum = (count: (invoice: Invoice) => number) => completed.reduce((total, invoice) => total + count(invoice), 0);
  return {
    history,
    currency,
    customers: customerIds.size,
    products: productIds.size,
    orders: { completed: completed.length, lines: sum(({ lines }) => lines.length), totalMinor: sum(totalOf) },
    foreignProducts: [...foreignProducts],
    failures,
    durationMs: performance.now() - begun,
    ordersMs,
    interrupted,
    check: checked,
    ok: failures.length === 0 && checked?.agrees === true,
  };
}

export function totalOf({ lines }: Invoice): number {
  return lines.reduce((total, { quantity, unitPriceMinor }) => total + quantity * unitPriceMinor, 0);
}

interface Order {
  readonly id: string;
  readonly status: string;
  readonly shipmentId: string | null;
  readonly cancellation: { readonly reason: string; readonly step?: string } | null;
}

/** An order that does not move for so long is reported as stuck. */
const stuckMs = 90_000;

class Run {
  readonly customerIds = new Map<string, string>();
  readonly productIds = new Map<string, string>();
  readonly foreignProducts = new Set<string>();
  readonly completed: Invoice[] = [];
  readonly failures: Failure[] = [];
  private accounts: Promise<Map<string, string>> | undefined;

  constructor(
    private readonly api: ApiClient,
    private readonly history: History,
    private readonly currency: string,
    private readonly progress: Progress,
    private readonly options: Pick<ImportOptions, 'concurrency' | 'signal'>,
  ) {}

  customers(): Promise<void> {
    return this.each('customer', this.history.customers, String, async (customerId) => {
      this.customerIds.set(customerId, await this.openAccount(customerId));
    });
  }

  products(): Promise<void> {
    return this.each(
      'product',
      this.history.products,
      ({ sku }) => sku,
      async (goods) => {
        const id = await this.list(goods);
        const key = `import/stock/${encodeURIComponent(goods.sku)}/${goods.salesHash}`;
        await this.api.post(`/v1/products/${id}/stock-adjustments`, key, {
          delta: goods.sold,
          reason: 'import of sold goods',
        });
        this.productIds.set(goods.sku, id);
      },
    );
  }

  orders(): Promise<void> {
    return this.each(
      'order',
      this.history.orders,
      ({ invoiceNo }) => invoiceNo,
      async (invoice) => {
        await this.carryOut(invoice);
        this.completed.push(invoice);
      },
    );
  }

  /** Works through `items` in their order, `concurrency` at a time; a refusal concerns one item, not the others. */
  private async each<T>(
    what: Failure['what'],
    items: readonly T[],
    idOf: (item: T) => string,
    work: (item: T) => Promise<void>,
  ): Promise<void> {
    const phase = this.progress.start(`${what}s`, items.length);
    const queue = items.values();
    let broken = false;
    const worker = async () => {
      for (const item of queue) {
        try {
          await work(item);
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          this.failures.push({ what, id: idOf(item), reason: error.message });
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
      if (this.options.signal?.aborted) return;
      const workers = Array.from({ length: this.options.concurrency }, () => worker().catch(stopOthers));
      const broke = (await Promise.allSettled(workers)).find((each) => each.status === 'rejected');
      // an interruption while the server is away ends like any other
      if (broke && !this.options.signal?.aborted) throw broke.reason;
    } finally {
      phase.end();
    }
  }

  private async openAccount(customerId: string): Promise<string> {
    const email = `customer-${customerId}@import.example`.toLowerCase();
    try {
      const body = { email, name: `Customer ${customerId}` };
      return (await this.api.post<{ id: string }>('/v1/users', `import/customer/${customerId}`, body)).body.id;
    } catch (error) {
      if (!(error instanceof Refusal) || error.code !== 'email-taken') throw error;
      const id = (await (this.accounts ??= this.readAccounts())).get(email);
      if (id === undefined) throw error;
      return id;
    }
  }

  /** Only when an address is taken, and once: there is no search by address. */
  private async readAccounts(): Promise<Map<string, string>> {
    const accounts = new Map<string, string>();
    for await (const { id, email } of this.api.list<{ id: string; email: string }>('/v1/users')) {
      if (email.endsWith('@import.example')) accounts.set(email, id);
    }
    return accounts;
  }

  private async list({ sku, name, priceMinor }: Goods): Promise<string> {
    const path = encodeURIComponent(sku);
    try {
      const body = { sku, name, price: { amountMinor: priceMinor, currency: this.currency } };
      return (await this.api.post<{ id: string }>('/v1/products', `import/product/${path}`, body)).body.id;
    } catch (error) {
      // reused: by an import of another file, in which it had another name or first price
      if (!(error instanceof Refusal) || !['sku-taken', 'idempotency-key-reused'].includes(error.code)) throw error;
      const found = await this.api.get<{ data: { id: string }[] }>(`/v1/products?sku=${path}`);
      if (!found.data[0])
        throw new Refusal(409, 'archived', `The product with sku ${sku} is archived: nothing can be sold of it.`);
      if (error.code === 'sku-taken') this.foreignProducts.add(sku);
      return found.data[0].id;
    }
  }

  /** From nothing, or from wherever an earlier run left it, to the customer's door. */
  private async carryOut(invoice: Invoice): Promise<void> {
    const placed = await this.place(invoice);
    const { id } = placed.body;
    const read = () => this.api.get<Order>(`/v1/orders/${id}`);
    let order = placed.replayed ? await read() : placed.body;
    let moved = performance.now();
    for (let attempt = 0; order.status !== 'completed'; attempt++) {
      if (order.status === 'cancelled') throw new Refusal(409, 'cancelled', describeCancellation(order));
      if (order.status === 'fulfilling' || order.status === 'shipped') await this.send(order);
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
  }

  private place({ invoiceNo, orderedAt, customerId, country, lines }: Invoice): Promise<Answer<Order>> {
    const userId = customerId && this.customerIds.get(customerId);
    if (customerId && !userId)
      throw new Refusal(409, 'no-customer', `Its customer ${customerId} could not be created.`);
    const name = customerId ? `Customer ${customerId}` : 'Guest';
    const unknown = 'not in the data';
    const body = {
      ...(userId ? { customerId: userId } : { guest: { name } }),
      reference: invoiceNo,
      orderedAt,
      paymentMethod: 'sandbox_ok',
      shippingAddress: { name, line1: unknown, city: country || unknown, countryCode: countryCode(country) },
      lines: lines.map(({ sku, quantity, unitPriceMinor }) => {
        const productId = this.productIds.get(sku);
        if (!productId) throw new Refusal(409, 'no-product', `Its product ${sku} could not be created or stocked.`);
        return { productId, quantity, unitPrice: { amountMinor: unitPriceMinor, currency: this.currency } };
      }),
      submit: true,
    };
    const key = `import/order/${encodeURIComponent(invoiceNo)}`;
    return this.api.post<Order>('/v1/orders', key, body, { Prefer: 'wait=20' });
  }

  /** Saying so again changes nothing, and a parcel that is ahead of us was sent by an earlier run. */
  private async send({ id, status, shipmentId }: Order): Promise<void> {
    for (const action of status === 'shipped' ? ['deliver'] : ['dispatch', 'deliver']) {
      try {
        await this.api.post(`/v1/shipments/${shipmentId}/${action}`, `import/${action}/${id}`);
      } catch (error) {
        if (!(error instanceof Refusal) || !['shipment-dispatched', 'shipment-delivered'].includes(error.code))
          throw error;
      }
    }
  }
}

function describeCancellation({ cancellation }: Order): string {
  const step = cancellation?.step ? `, in step ${cancellation.step}` : '';
  return `The order was cancelled${step}: ${cancellation?.reason ?? 'no reason given'}`;
}

/** @throws ImportError for what `importHistory` could not work with */
export function assertOptions({
  url,
  concurrency,
  currency,
}: Pick<ImportOptions, 'url' | 'concurrency' | 'currency'>): void {
  if (!/^https?:\/\/[^/]+/.test(url) || !URL.canParse(url))
    throw new ImportError(`--url ${url} is no address: give one such as http://127.0.0.1:3000.`);
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 256)
    throw new ImportError('--concurrency takes a whole number from 1 to 256.');
  if (currency !== undefined && !/^[A-Z]{3}$/.test(currency))
    throw new ImportError('--currency takes three capital letters, such as GBP.');
}
