import { writeFile } from 'node:fs/promises';
import type { Check } from './check';
import type { Failure, Summary } from './importer';
import { ImportError } from './import-error';
import { formatMinor } from './money';
import { duration } from './progress';
import type { History } from './read-history';

/** What the file holds, for people. */
export function describeHistory(history: History, currency: string): string {
  const { orders, creditNotes, unsellable, dropped } = history;
  const guests = orders.filter(({ customerId }) => customerId === undefined).length;
  const reasons = countBy(dropped, ({ reason }) => reason);
  return table([
    ['In the file', `${number(history.lineCount)} lines of ${number(history.invoiceCount)} invoices`],
    [
      '  to import',
      `${number(orders.length)} orders, ${number(history.orderLineCount)} lines, ${formatMinor(history.totalMinor, currency)}`,
    ],
    [
      '',
      `${number(history.products.length)} products, ${number(history.customers.length)} customers, ${number(guests)} orders of guests`,
    ],
    [
      '  credit notes',
      `${number(creditNotes.invoiceNos.length)}, ${formatMinor(creditNotes.totalMinor, currency)}: not imported`,
    ],
    ['  nothing to sell', `${number(unsellable.length)} invoices: not imported`],
    ['  dropped lines', number(dropped.length)],
    ...[...reasons].map(([reason, count]) => ['', `${number(count)} ${reason}`] as const),
  ]);
}

/** What became of it. */
export function describeOutcome(summary: Summary): string {
  const { orders, currency, ordersMs, failures, foreignProducts } = summary;
  const seconds = ordersMs / 1000;
  const rates = `${rate(orders.completed / seconds)} orders/s, ${rate(orders.lines / seconds)} lines/s`;
  const lines = [
    table([
      [
        'On the server',
        `${number(orders.completed)} orders completed, ${number(orders.lines)} lines, ${formatMinor(orders.totalMinor, currency)}`,
      ],
      ['', `${number(summary.products)} products, ${number(summary.customers)} customers`],
      ['Time', `${duration(summary.durationMs / 1000)}, of which orders ${duration(seconds)} (${rates})`],
    ]),
  ];
  if (foreignProducts.length > 0) {
    lines.push(
      `${number(foreignProducts.length)} products were there before, so that their stock is not checked: ${some(foreignProducts)}`,
    );
  }
  for (const [reason, count] of countBy(failures, ({ what, reason }) => `${what}: ${reason}`)) {
    lines.push(
      `FAILED  ${count > 1 ? `${number(count)} × ` : ''}${reason} (${some(failures.filter((each) => sameAs(reason, each)).map(({ id }) => id))})`,
    );
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
    ...dropped.map((each) => [
      String(each.line),
      each.invoiceNo,
      each.stockCode,
      each.quantity,
      each.unitPrice,
      each.reason,
    ]),
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

function countBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(keyOf(item), (counts.get(keyOf(item)) ?? 0) + 1);
  return new Map([...counts].sort(([, a], [, b]) => b - a));
}

function table(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

const sameAs = (group: string, { what, reason }: Failure) => group === `${what}: ${reason}`;
const some = (ids: readonly string[]) =>
  ids.length > 5 ? `${ids.slice(0, 5).join(', ')} and ${number(ids.length - 5)} more` : ids.join(', ');
const number = (value: number) => value.toLocaleString('en-GB');
const rate = (value: number) => (Number.isFinite(value) ? value.toFixed(value < 10 ? 1 : 0) : '0');
