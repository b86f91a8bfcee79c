import { ApiClient } from './api-client';
import { type Check, check } from './check';
import { ImportError } from './import-error';
import { type Output, Progress } from './progress';
import type { History } from './history';
import { readHistory, type ReadOptions } from './read-history';
import { type Failure, Replay } from './replay';

export interface ImportOptions extends ReadOptions {
  /** Where the app listens, such as `http://127.0.0.1:3000`. */
  readonly url: string;
  /** Of an account with role staff. The same one every time: idempotency keys belong to whoever sends them. */
  readonly email: string;
  readonly password: string;
  /** How many requests, or orders, are under way at a time. */
  readonly concurrency: number;
  /** Ends the import after what is in flight. */
  readonly signal?: AbortSignal;
  /** Where to show progress; default: nowhere. */
  readonly out?: Output;
}

export interface Summary {
  readonly currency: string;
  /** What is on the server now, be it from this run or from an earlier one; amounts in integer minor units. */
  readonly customers: number;
  readonly products: number;
  readonly orders: { readonly done: number; readonly lines: number; readonly totalMinor: number };
  /** Products whose stock others have changed, or that others have created: used as they are, their stock is not checked. */
  readonly foreignProducts: readonly string[];
  /** The first thousand. */
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
 * order up to its end. Running it again, wherever it was stopped, changes nothing that is there already: keys derive
 * from the numbers in the file, and the server derives the ids of what it creates from keys.
 *
 * @throws ImportError when nothing, or nothing more, can be sent
 */
export async function importHistory(history: History, options: ImportOptions): Promise<Summary> {
  const { currency, signal, concurrency } = options;
  const begun = performance.now();
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
  const { failures } = replay;
  const patienceMs = failures.length > 0 ? 2000 : 15_000;
  const checked = interrupted ? undefined : await check(api, history, { concurrency, patienceMs });
  const { scratch } = history;
  const count = (from: string) => scratch.get<{ n: number }>(`select count(*) as n from ${from}`)!.n;
  return {
    currency,
    customers: count('customers where user_id is not null'),
    products: count('products where product_id is not null'),
    orders: scratch.get(
      `select count(*) as done, coalesce(sum(line_count), 0) as lines, coalesce(sum(sum_minor), 0) as totalMinor
       from orders where line_count > 0 and done = 1`,
    )!,
    foreignProducts: scratch
      .all<{ sku: string }>('select spelled as sku from products where checked = 0 order by sku limit 1000')
      .map(({ sku }) => sku),
    failures,
    durationMs: performance.now() - begun,
    ordersMs,
    interrupted,
    check: checked,
    ok: failures.length === 0 && checked?.agrees === true,
  };
}

/** Reads a file and imports it, see {@link readHistory} and {@link importHistory}. */
export async function importFile(file: string, options: ImportOptions): Promise<Summary> {
  const history = await readHistory(file, options);
  try {
    return await importHistory(history, options);
  } finally {
    history.close();
  }
}

/** Keys belong to whoever sends them: to the server, the same file from another account would be other orders. */
async function assertSender(api: ApiClient, history: History, email: string): Promise<void> {
  const me = await api.get<{ id: string; roles: string[] }>('/v1/users/me');
  if (!me.roles.includes('staff') && !me.roles.includes('admin')) {
    throw new ImportError(`${email} is no staff account: import as one that is, or let an administrator make it one.`);
  }
  const [first] = history.orders();
  if (!first) return;
  const path = `/v1/orders?reference=${encodeURIComponent(first.reference)}`;
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
export function assertOptions(options: Pick<ImportOptions, 'url' | 'concurrency' | 'currency' | 'delimiter'>) {
  const { url, concurrency, currency, delimiter } = options;
  if (!/^https?:\/\/[^/]+/.test(url) || !URL.canParse(url)) {
    throw new ImportError(`--url ${url} is no address: give one such as http://127.0.0.1:3000.`);
  }
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 256) {
    throw new ImportError('--concurrency takes a whole number from 1 to 256.');
  }
  if (!Intl.supportedValuesOf('currency').includes(currency)) {
    throw new ImportError(`--currency ${currency} is no currency: give three capital letters, such as GBP.`);
  }
  if (delimiter !== undefined && delimiter.length !== 1) {
    throw new ImportError('--delimiter takes one character, such as ";", or the word tab.');
  }
}
