import { writeFile } from 'node:fs/promises';
import type { Check } from './check';
import type { Summary } from './importer';
import { ImportError } from './import-error';
import { formatMinor } from './money';
import { duration } from './progress';
import type { History } from './read-history';
import type { Failure } from './replay';

/** What the file holds, for people. */
export function describeHistory(history: History, currency: string): string {
  const { orders, orderLineCount, totalMinor, products, customers, creditNotes, unsellable, dropped } = history;
  const guests = orders.filter(({ customerId }) => customerId === undefined).length;
  const credit = formatMinor(creditNotes.totalMinor, currency);
  const reasons = group(dropped, ({ reason }) => reason);
  return table([
    ['In the file', `${count(history.lineCount, 'line')} of ${count(history.invoiceCount, 'invoice')}`],
    ['  to import', sales(orders.length, orderLineCount, formatMinor(totalMinor, currency))],
    ['', `${parties(products.length, customers.length)}, ${count(guests, 'order')} of guests`],
    ['  credit notes', `${number(creditNotes.invoiceNos.length)}, ${credit}: not imported`],
    ['  nothing to sell', `${count(unsellable.length, 'invoice')}: not imported`],
    ['  dropped lines', number(dropped.length)],
    ...reasons.map(([reason, lines]) => ['', `${number(lines.length)} ${reason}`] as const),
  ]);
}

/** What became of it. */
export function describeOutcome(summary: Summary): string {
  const { orders, products, customers, currency, durationMs, ordersMs, failures, foreignProducts } = summary;
  const seconds = ordersMs / 1000;
  const rates = `${rate(orders.completed / seconds)} orders/s, ${rate(orders.lines / seconds)} lines/s`;
  const lines = [
    table([
      ['On the server', sales(orders.completed, orders.lines, formatMinor(orders.totalMinor, currency))],
      ['', parties(products, customers)],
      ['Time', `${duration(durationMs / 1000)}, of which orders ${duration(seconds)} (${rates})`],
    ]),
  ];
  if (foreignProducts.length > 0) {
    lines.push(`${count(foreignProducts.length, 'product')} of others, stock not checked: ${some(foreignProducts)}`);
  }
  for (const [reason, failed] of group(failures, ({ what, reason }) => `${what}: ${reason}`)) {
    lines.push(`FAILED  ${number(failed.length)} × ${reason} (${some(failed.map(({ id }) => id))})`);
  }
  if (summary.check) lines.push('', describeCheck(summary.check, currency));
  return lines.join('\n');
}

function describeCheck({ findings, agrees }: Check, currency: string): string {
  const show = (value: number, unit: string) => (unit === 'money' ? formatMinor(value, currency) : number(value));
  const rows = findings.map(({ what, expected, found, unit }) => {
    const verdict =
      found === expected ? show(found, unit) : `${show(found, unit)}, but by the file ${show(expected, unit)}`;
    return [`  ${what}`, verdict] as const;
  });
  const verdict = agrees ? 'file and server agree, to the last penny' : 'file and server DISAGREE';
  return table([['Asked over the API', verdict], ...rows]);
}

/**
 * One CSV row for each line that was not imported, invoice without a sellable line and failure, and why.
 *
 * @throws ImportError when the file cannot be written
 */
export async function writeReport(
  path: string,
  { dropped, unsellable }: History,
  failures: readonly Failure[],
): Promise<void> {
  const rows = [
    ['line', 'invoice', 'stockCode', 'quantity', 'unitPrice', 'reason'],
    ...dropped.map(({ line, ...what }) => {
      return [String(line), what.invoiceNo, what.stockCode, what.quantity, what.unitPrice, what.reason];
    }),
    ...unsellable.map((invoiceNo) => ['', invoiceNo, '', '', '', 'invoice without a sellable line']),
    ...failures.map(({ what, id, reason }) => {
      return ['', what === 'order' ? id : '', what === 'product' ? id : '', '', '', `${what} ${id}: ${reason}`];
    }),
  ];
  try {
    await writeFile(path, rows.map((row) => `${row.map(csv).join(',')}\n`).join(''));
  } catch (error) {
    throw new ImportError(
      `The report cannot be written to ${path} (${(error as Error).message}): choose another place with --report.`,
    );
  }
}

function csv(cell: string): string {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

/** The largest group first. */
function group<T>(items: readonly T[], keyOf: (item: T) => string): (readonly [string, T[]])[] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const members = groups.get(key) ?? [];
    groups.set(key, members);
    members.push(item);
  }
  return [...groups].sort(([, a], [, b]) => b.length - a.length);
}

function table(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

const number = (value: number) => value.toLocaleString('en-GB');
const count = (value: number, noun: string) => `${number(value)} ${noun}${value === 1 ? '' : 's'}`;
const rate = (value: number) => (Number.isFinite(value) ? value.toFixed(value < 10 ? 1 : 0) : '0');
const sales = (orders: number, lines: number, total: string) =>
  `${count(orders, 'order')}, ${count(lines, 'line')}, ${total}`;
const parties = (products: number, customers: number) =>
  `${count(products, 'product')}, ${count(customers, 'customer')}`;
const some = (ids: readonly string[]) =>
  ids.slice(0, 5).join(', ') + (ids.length > 5 ? ` and ${number(ids.length - 5)} more` : '');
