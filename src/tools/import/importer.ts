import { ApiClient } from './api-client';
import { type Check, check } from './check';
import { ImportError } from './import-error';
import { type Output, Progress } from './progress';
import { type History, type Invoice, readHistory, totalOf } from './read-history';
import { type Failure, Replay } from './replay';

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
  await assertSender(api, history, options.email);

  const replay = new Replay(api, history, currency, progress, options);
  await replay.customers();
  await replay.products();
  const ordersBegun = performance.now();
  await replay.orders();
  const ordersMs = performance.now() - ordersBegun;

  const interrupted = signal?.aborted ?? false;
  const { customerIds, productIds, completed, failures, foreignProducts } = replay;
  const ours = [...productIds].filter(([sku]) => !foreignProducts.has(sku)).map(([, id]) => id);
  const patienceMs = failures.length > 0 ? 2000 : 15_000;
  const checked = interrupted ? undefined : await check(api, history, ours, options.concurrency, patienceMs);
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

/** Keys belong to whoever sends them: to the server, the same file from another account would be other orders. */
async function assertSender(api: ApiClient, { orders }: History, email: string): Promise<void> {
  const me = await api.get<{ id: string; roles: string[] }>('/v1/users/me');
  if (!me.roles.includes('staff') && !me.roles.includes('admin')) {
    throw new ImportError(`${email} is no staff account: import as one that is, or let an administrator make it one.`);
  }
  const [first] = orders;
  if (!first) return;
  const path = `/v1/orders?reference=${encodeURIComponent(first.invoiceNo)}`;
  for await (const { id, orderedAt } of api.list<{ id: string; orderedAt: string }>(path)) {
    if (Date.parse(orderedAt) !== Date.parse(first.orderedAt)) continue;
    const { data } = await api.get<{ data: { actor: string }[] }>(`/v1/orders/${id}/timeline?limit=1`);
    if (!data[0] || data[0].actor === `user:${me.id}`) continue;
    throw new ImportError(
      `Orders of this file have been imported by another account (${data[0].actor}): import as that one, or every order would be there twice.`,
    );
  }
}

/** @throws ImportError for what `importHistory` could not work with */
export function assertOptions({ url, concurrency, currency }: Pick<ImportOptions, 'url' | 'concurrency' | 'currency'>) {
  if (!/^https?:\/\/[^/]+/.test(url) || !URL.canParse(url)) {
    throw new ImportError(`--url ${url} is no address: give one such as http://127.0.0.1:3000.`);
  }
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 256) {
    throw new ImportError('--concurrency takes a whole number from 1 to 256.');
  }
  if (currency !== undefined && !/^[A-Z]{3}$/.test(currency)) {
    throw new ImportError('--currency takes three capital letters, such as GBP.');
  }
}
