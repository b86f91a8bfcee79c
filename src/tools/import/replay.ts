import { setTimeout as delay } from 'node:timers/promises';
import { type Answer, type ApiClient, Refusal } from './api-client';
import { countryCode } from './countries';
import type { Progress } from './progress';
import type { Goods, History, Invoice } from './read-history';

/** Something that the server refused, or that came to another end than `completed`. */
export interface Failure {
  readonly what: 'customer' | 'product' | 'order';
  /** CustomerID, StockCode or InvoiceNo of the file. */
  readonly id: string;
  readonly reason: string;
}

interface Order {
  readonly id: string;
  readonly status: string;
  readonly shipmentId: string | null;
  readonly cancellation: { readonly reason: string; readonly step?: string } | null;
}

/** An order that does not move for so long is reported as stuck. */
const stuckMs = 90_000;

/** Sends a history to the server, phase by phase, and remembers what is there. */
export class Replay {
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
    private readonly options: { readonly concurrency: number; readonly signal?: AbortSignal },
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
        const adjustment = { delta: goods.sold, reason: 'import of sold goods' };
        await this.api.post(`/v1/products/${id}/stock-adjustments`, key, adjustment);
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
    if (this.options.signal?.aborted) return;
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
      const workers = Array.from({ length: this.options.concurrency }, () => worker().catch(stopOthers));
      const broke = (await Promise.allSettled(workers)).find((each) => each.status === 'rejected');
      // an interruption while the server is away ends like any other
      if (broke && !this.options.signal?.aborted) throw broke.reason;
    } finally {
      phase.end();
    }
  }

  private async openAccount(customerId: string): Promise<string> {
    const email = `customer-${customerId}@import.example`;
    try {
      const body = { email, name: `Customer ${customerId}` };
      return (await this.api.post<{ id: string }>('/v1/users', `import/customer/${customerId}`, body)).body.id;
    } catch (error) {
      if (!(error instanceof Refusal) || error.code !== 'email-taken') throw error;
      const id = (await (this.accounts ??= this.readAccounts())).get(email);
      if (id !== undefined) return id;
      throw new Refusal(409, error.code, `There is an account ${email}, but it cannot be found.`);
    }
  }

  /** Only when an address is taken, and once: there is no search by address. */
  private async readAccounts(): Promise<Map<string, string>> {
    const accounts = new Map<string, string>();
    try {
      for await (const { id, email } of this.api.list<{ id: string; email: string }>('/v1/users')) {
        if (email.endsWith('@import.example')) accounts.set(email, id);
      }
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 403) throw error;
      throw new Refusal(403, error.code, 'There is an account for it, which only an administrator can look up.');
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
      const [product] = found.data;
      if (!product) throw new Refusal(409, 'archived', `The product ${sku} is archived: nothing can be sold of it.`);
      if (error.code === 'sku-taken') this.foreignProducts.add(sku);
      return product.id;
    }
  }

  /** From nothing, or from wherever an earlier run left it, to the customer's door. */
  private async carryOut(invoice: Invoice): Promise<void> {
    const placed = await this.place(invoice);
    const { id } = placed.body;
    const read = () => this.api.get<Order>(`/v1/orders/${id}`);
    let order = placed.replayed ? await read() : placed.body;
    let moved = performance.now();
    let sent = false;
    for (let attempt = 0; order.status !== 'completed'; attempt++) {
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
  }

  private async place({ invoiceNo, orderedAt, customerId, country, lines }: Invoice): Promise<Answer<Order>> {
    const userId = customerId && this.customerIds.get(customerId);
    if (customerId && !userId) throw missing(`customer ${customerId}`);
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
        if (!productId) throw missing(`product ${sku}`);
        return { productId, quantity, unitPrice: { amountMinor: unitPriceMinor, currency: this.currency } };
      }),
      submit: true,
    };
    const key = `import/order/${encodeURIComponent(invoiceNo)}`;
    try {
      return await this.api.post<Order>('/v1/orders', key, body, { Prefer: 'wait=20' });
    } catch (error) {
      if (!(error instanceof Refusal) || error.code !== 'idempotency-key-reused') throw error;
      throw new Refusal(error.status, error.code, 'It has been imported with other lines or another customer before.');
    }
  }

  /** Saying so again changes nothing, and a parcel that is ahead of us was sent by an earlier run. */
  private async send({ id, status, shipmentId }: Order): Promise<void> {
    for (const action of status === 'shipped' ? ['deliver'] : ['dispatch', 'deliver']) {
      try {
        await this.api.post(`/v1/shipments/${shipmentId}/${action}`, `import/${action}/${id}`);
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
