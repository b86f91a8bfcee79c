import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Check, Difference, Finding } from './check';
import type { History } from './history';
import type { Summary } from './importer';
import { ImportError } from './import-error';
import { formatMinor } from './money';
import { duration } from './progress';

/** What the file holds, for people. */
export function describeHistory({ totals }: History, currency: string): string {
  const money = (minor: number) => formatMinor(minor, currency);
  const { creditNotes, refunded, unknownCountries } = totals;
  const droppedLines = totals.dropped.reduce((sum, { lines }) => sum + lines, 0);
  const countries = unknownCountries.map(({ name, orders }) => `"${name}" (${count(orders, 'order')})`);
  return table([
    ['In the file', `${count(totals.lines, 'line')} of ${count(totals.invoices, 'order')}`],
    ['  to import', sales(totals.orders, totals.orderLines, money(totals.totalMinor))],
    ['', `${parties(totals.products, totals.customers)}, ${count(totals.guests, 'order')} of guests`],
    ...(totals.open > 0 ? [['', `${count(totals.open, 'order')} paid and not shipped yet`] as const] : []),
    ...(refunded.orders > 0
      ? [['', `${count(refunded.orders, 'order')} less ${money(refunded.totalMinor)} refunded`] as const]
      : []),
    ...totals.leftOut.map(({ reason, orders, totalMinor }) => {
      return [`  ${reason}`, `${count(orders, 'order')}, ${money(totalMinor)}: not imported`] as const;
    }),
    ...(creditNotes.count > 0
      ? [['  credit notes', `${number(creditNotes.count)}, ${money(creditNotes.totalMinor)}: not imported`] as const]
      : []),
    ['  nothing to sell', `${count(totals.unsellable, 'order')}: not imported`],
    ['  dropped lines', number(droppedLines)],
    ...totals.dropped.map(({ reason, lines }) => ['', `${number(lines)} ${reason}`] as const),
    ...(countries.length > 0 ? [['  countries not known', `${some(countries, 20)}: imported as ZZ`] as const] : []),
  ]);
}

/** What became of it. */
export function describeOutcome(summary: Summary): string {
  const { orders, products, customers, currency, durationMs, ordersMs, failures, foreignProducts } = summary;
  const seconds = ordersMs / 1000;
  const rates = `${rate(orders.done / seconds)} orders/s, ${rate(orders.lines / seconds)} lines/s`;
  const lines = [
    table([
      ['On the server', sales(orders.done, orders.lines, formatMinor(orders.totalMinor, currency))],
      ['', parties(products, customers)],
      ['Time', `${duration(durationMs / 1000)}, of which orders ${duration(seconds)} (${rates})`],
    ]),
  ];
  if (foreignProducts.length > 0) {
    const foreign = count(foreignProducts.length, 'product');
    lines.push(`${foreign} with stock from elsewhere, not checked: ${some(foreignProducts)}`);
  }
  for (const [reason, failed] of group(failures, ({ what, reason }) => `${what}: ${reason}`)) {
    lines.push(`FAILED  ${number(failed.length)} × ${reason} (${some(failed.map(({ id }) => id))})`);
  }
  if (summary.check) lines.push('', describeCheck(summary.check, currency));
  return lines.join('\n');
}

function describeCheck({ findings, agrees }: Check, currency: string): string {
  const verdict = agrees ? 'file and server agree, to the last penny' : 'file and server DISAGREE';
  const rows = findings.flatMap((finding) => describeFinding(finding, currency));
  return table([['Asked over the API', verdict], ...rows]);
}

function describeFinding({ what, expected, found, unit, differences }: Finding, currency: string) {
  const show = (value: number) => (unit === 'money' ? formatMinor(value, currency) : number(value));
  const verdict = found === expected ? show(found) : `${show(found)}, but by the file ${show(expected)}`;
  const text = (value: string) => (unit === 'money' ? formatMinor(Number(value), currency) : value);
  const named = differences.map(({ id, expected, found }: Difference) => {
    return ['', `${id}: ${text(found)}, but by the file ${text(expected)}`] as const;
  });
  return [[`  ${what}`, verdict] as const, ...named];
}

/**
 * One CSV row for each line that was not imported, each order that was not or not as it stands in the file, each
 * failure and each difference that was found in the end, and why.
 *
 * @throws ImportError when the file cannot be written
 */
export async function writeReport(path: string, history: History, check?: Check): Promise<void> {
  try {
    await pipeline(Readable.from(reportOf(history, check)), createWriteStream(path));
  } catch (error) {
    throw new ImportError(
      `The report cannot be written to ${path} (${(error as Error).message}): choose another place with --report.`,
    );
  }
}

function* reportOf(history: History, check?: Check): Generator<string> {
  const row = (cells: readonly (string | number | null | undefined)[]) =>
    `${cells.map((cell) => csv(String(cell ?? ''))).join(',')}\n`;
  yield row(['line', 'order', 'product', 'quantity', 'unitPrice', 'reason']);
  for (const { line, reference, sku, quantity, unitPrice, reason } of history.remarks()) {
    yield row([line, reference, sku, quantity, unitPrice, reason]);
  }
  for (const { what, differences } of check?.findings ?? []) {
    for (const { id, expected, found } of differences) {
      const product = what.startsWith('products');
      yield row(['', product ? '' : id, product ? id : '', '', '', `${what}: ${found}, but by the file ${expected}`]);
    }
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
const some = (ids: readonly string[], shown = 5) =>
  ids.slice(0, shown).join(', ') + (ids.length > shown ? ` and ${number(ids.length - shown)} more` : '');
