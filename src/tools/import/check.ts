import { setTimeout as delay } from 'node:timers/promises';
import type { ApiClient } from './api-client';
import type { History } from './read-history';

export interface Finding {
  readonly what: string;
  /** By the file. Amounts in integer minor units. */
  readonly expected: number;
  /** By the server. */
  readonly found: number;
  readonly unit: 'count' | 'money';
}

export interface Check {
  readonly findings: readonly Finding[];
  readonly agrees: boolean;
}

interface OrderSummary {
  readonly id: string;
  readonly reference: string | null;
  readonly total: { readonly amountMinor: number };
  readonly lineCount: number;
  readonly orderedAt: string;
}

/**
 * Asks the server for everything that should follow from the file, one resource at a time, and adds it up.
 * Two orders of the same reference count twice, so that one too many shows as well as one too few. What follows from
 * a delivery, such as goods leaving the stock, does so by events: these are given `patienceMs`.
 */
export async function check(
  api: ApiClient,
  history: History,
  productIds: readonly string[],
  concurrency: number,
  patienceMs: number,
): Promise<Check> {
  const begun = performance.now();
  let restless = productIds;
  for (;;) {
    restless = await withStock(api, restless, concurrency);
    const findings: Finding[] = [
      ...(await sales(api, history)),
      {
        what: 'products sold out',
        expected: productIds.length,
        found: productIds.length - restless.length,
        unit: 'count',
      },
    ];
    const agrees = findings.every(({ expected, found }) => expected === found);
    if (agrees || performance.now() - begun > patienceMs) return { findings, agrees };
    await delay(500);
  }
}

async function sales(api: ApiClient, history: History): Promise<Finding[]> {
  const times = new Map(history.orders.map(({ invoiceNo, orderedAt }) => [invoiceNo, Date.parse(orderedAt)]));
  const last = Math.max(...times.values());
  const orderIds = new Set<string>();
  let lines = 0;
  let total = 0;
  // History comes first in this order, so the rest of a busy shop need not be read.
  for await (const order of api.list<OrderSummary>('/v1/orders?status=completed&sort=orderedAt')) {
    const orderedAt = Date.parse(order.orderedAt);
    if (orderedAt > last) break;
    // a customer may use the same reference, but cannot choose the time
    if (order.reference === null || times.get(order.reference) !== orderedAt) continue;
    orderIds.add(order.id);
    lines += order.lineCount;
    total += order.total.amountMinor;
  }

  let payments = 0;
  let paid = 0;
  for await (const { orderId, amount } of api.list<{ orderId: string; amount: { amountMinor: number } }>(
    '/v1/payments?status=completed',
  )) {
    if (!orderIds.has(orderId)) continue;
    payments += 1;
    paid += amount.amountMinor;
  }

  let shipments = 0;
  for await (const { orderId } of api.list<{ orderId: string }>('/v1/shipments?status=delivered')) {
    if (orderIds.has(orderId)) shipments += 1;
  }

  const count = history.orders.length;
  return [
    { what: 'orders completed', expected: count, found: orderIds.size, unit: 'count' },
    { what: 'lines', expected: history.orderLineCount, found: lines, unit: 'count' },
    { what: 'total', expected: history.totalMinor, found: total, unit: 'money' },
    { what: 'payments completed', expected: count, found: payments, unit: 'count' },
    { what: 'money taken', expected: history.totalMinor, found: paid, unit: 'money' },
    { what: 'shipments delivered', expected: count, found: shipments, unit: 'count' },
  ];
}

/** Those of which something is still on hand or reserved: of each product as many came in as were sold. */
async function withStock(api: ApiClient, ids: readonly string[], concurrency: number): Promise<string[]> {
  const left: string[] = [];
  const queue = ids.values();
  const worker = async () => {
    for (const id of queue) {
      const { onHand, reserved } = await api.get<{ onHand: number; reserved: number }>(`/v1/products/${id}/stock`);
      if (onHand !== 0 || reserved !== 0) left.push(id);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return left;
}
