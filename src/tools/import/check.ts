import { setTimeout as delay } from 'node:timers/promises';
import type { ApiClient } from './api-client';
import type { History } from './history';

/** One thing that is not as the file has it: an order by its reference, a product by its code. */
export interface Difference {
  readonly id: string;
  readonly expected: string;
  readonly found: string;
}

export interface Finding {
  readonly what: string;
  /** By the file. Amounts in integer minor units. */
  readonly expected: number;
  /** By the server. */
  readonly found: number;
  readonly unit: 'count' | 'money';
  /** The first of them. */
  readonly differences: readonly Difference[];
}

export interface Check {
  readonly findings: readonly Finding[];
  readonly agrees: boolean;
}

interface OrderSummary {
  readonly id: string;
  readonly status: string;
  readonly reference: string | null;
  readonly total: { readonly amountMinor: number };
  readonly lineCount: number;
  readonly orderedAt: string;
}

export interface CheckOptions {
  readonly concurrency: number;
  /** How long to wait for what follows by events, such as goods leaving the stock; 0: ask once. */
  readonly patienceMs: number;
}

/** How many differences a finding names. */
const named = 20;

/**
 * Asks the server for everything that should follow from the file, page by page, and compares it. Two orders of the
 * same reference count twice, so that one too many shows as well as one too few.
 */
export async function check(api: ApiClient, history: History, options: CheckOptions): Promise<Check> {
  const begun = performance.now();
  const { scratch } = history;
  const { concurrency, patienceMs } = options;
  scratch.run('create table if not exists on_sale (sku text primary key, expected int not null, found int not null)');
  scratch.run('delete from on_sale');
  let products: Iterable<string> = history.checkedProducts();
  for (let round = 1; ; round++) {
    await readStock(api, history, products, concurrency);
    await readSales(api, history);
    const findings = [...salesFindings(history), stockFinding(history)];
    const agrees = findings.every(({ expected, found, differences }) => expected === found && differences.length === 0);
    const waited = performance.now() - begun;
    // asking may take longer than the patience: what was on its way is asked for once more
    if (agrees || patienceMs === 0 || (round > 1 && waited > patienceMs)) return { findings, agrees };
    await delay(500);
    products = scratch.all<{ sku: string }>('select sku from on_sale where found <> expected').map(({ sku }) => sku);
  }
}

/** Notes in the scratch file what the server has of the file's orders. */
async function readSales(api: ApiClient, { scratch }: History): Promise<void> {
  scratch.run(
    'update orders set found = 0, found_status = null, found_lines = 0, found_minor = 0, paid_minor = 0, delivered = 0',
  );
  const last = scratch.get<{ at: string | null }>('select max(at) as at from orders where line_count > 0')!.at ?? '';
  // history comes first in this order, so the rest of a busy shop need not be read
  for await (const order of api.list<OrderSummary>('/v1/orders?sort=orderedAt')) {
    if (order.orderedAt > last) break;
    if (order.reference === null || ['draft', 'cancelled'].includes(order.status)) continue;
    // a customer may use the same reference, but cannot choose the time
    scratch.run(
      `update orders set found = found + 1, found_status = ?, found_lines = found_lines + ?, found_minor = found_minor + ?,
         order_id = coalesce(order_id, ?) where reference = ? and at = ? and line_count > 0`,
      ...[order.status, order.lineCount, order.total.amountMinor, order.id, order.reference, order.orderedAt],
    );
  }
  const payments = api.list<{ orderId: string; amount: { amountMinor: number } }>('/v1/payments?status=completed');
  for await (const { orderId, amount } of payments) {
    scratch.run('update orders set paid_minor = paid_minor + ? where order_id = ?', amount.amountMinor, orderId);
  }
  for await (const { orderId } of api.list<{ orderId: string }>('/v1/shipments?status=delivered')) {
    scratch.run('update orders set delivered = delivered + 1 where order_id = ?', orderId);
  }
}

function salesFindings({ scratch, totals }: History): Finding[] {
  const sums = scratch.get<Record<'found' | 'lines' | 'minor' | 'paid' | 'delivered' | 'toDeliver', number>>(
    `select coalesce(sum(found), 0) as found, coalesce(sum(found_lines), 0) as lines,
       coalesce(sum(found_minor), 0) as minor, coalesce(sum(paid_minor), 0) as paid,
       coalesce(sum(delivered), 0) as delivered, coalesce(sum(target = 'completed' or delivered), 0) as toDeliver
     from orders where line_count > 0`,
  )!;
  const differing = (where: string, expected: string, found: string) =>
    scratch.all<Difference>(
      `select reference as id, cast(${expected} as text) as expected, cast(${found} as text) as found
       from orders where line_count > 0 and ${where} order by at, reference limit ${named}`,
    );
  const status = `case found when 0 then 'missing' when 1 then found_status else found || ' orders' end`;
  // who ships what was open in the file does nothing wrong
  const arrived = `(found_status = 'completed' or (target = 'fulfilling' and found_status in ('fulfilling', 'shipped', 'delivered')))`;
  const count = totals.orders;
  return [
    {
      what: 'orders',
      ...{ expected: count, found: sums.found, unit: 'count' },
      differences: differing(`(found <> 1 or not ${arrived})`, 'target', status),
    },
    {
      what: 'lines',
      ...{ expected: totals.orderLines, found: sums.lines, unit: 'count' },
      differences: differing('found = 1 and found_lines <> line_count', 'line_count', 'found_lines'),
    },
    {
      what: 'total',
      ...{ expected: totals.totalMinor, found: sums.minor, unit: 'money' },
      differences: differing('found = 1 and found_minor <> sum_minor', 'sum_minor', 'found_minor'),
    },
    {
      what: 'money taken',
      ...{ expected: totals.totalMinor, found: sums.paid, unit: 'money' },
      differences: differing('found = 1 and paid_minor <> sum_minor', 'sum_minor', 'paid_minor'),
    },
    {
      what: 'shipments delivered',
      ...{ expected: sums.toDeliver, found: sums.delivered, unit: 'count' },
      differences: differing(`found = 1 and target = 'completed' and delivered <> 1`, '1', 'delivered'),
    },
  ];
}

/** As many came in as were sold: nothing is left on sale. */
async function readStock(api: ApiClient, history: History, skus: Iterable<string>, concurrency: number): Promise<void> {
  const queue = skus[Symbol.iterator]();
  const worker = async () => {
    for (let next = queue.next(); !next.done; next = queue.next()) {
      const sku = next.value;
      const id = history.productIdOf(sku)!;
      const { onHand, reserved } = await api.get<{ onHand: number; reserved: number }>(`/v1/products/${id}/stock`);
      const found = onHand - reserved;
      const waiting = found === 0 ? 0 : await waitingElsewhere(api, history, sku);
      history.scratch.run(
        'insert into on_sale (sku, expected, found) values (?1, ?2, ?3) on conflict do update set expected = ?2, found = ?3',
        ...[sku, waiting, found],
      );
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

/** Pieces for orders of other files whose import was broken off: they are on sale until it is run again. */
async function waitingElsewhere(api: ApiClient, { scratch }: History, sku: string): Promise<number> {
  const others = scratch.all<{ reference: string; quantity: number }>(
    `select reference, quantity from opened o where sku = ? and quantity > 0 and not exists (
       select 1 from orders mine where mine.reference = o.reference and line_count > 0)`,
    sku,
  );
  let waiting = 0;
  for (const { reference, quantity } of others) {
    const path = `/v1/orders?limit=1&reference=${encodeURIComponent(reference)}`;
    const { data } = await api.get<{ data: unknown[] }>(path);
    if (data.length === 0) waiting += quantity;
  }
  return waiting;
}

function stockFinding({ scratch }: History): Finding {
  const { expected, found } = scratch.get<{ expected: number; found: number }>(
    'select count(*) as expected, coalesce(sum(found = expected), 0) as found from on_sale',
  )!;
  const differences = scratch.all<Difference>(
    `select sku as id, expected || ' on sale' as expected, found || ' on sale' as found
     from on_sale where found <> expected order by sku limit ${named}`,
  );
  return { what: 'products with the right stock', expected, found, unit: 'count', differences };
}
