import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Cell, type Result, whatOf } from './cell';
import { faults } from './faults';

const file = join(__dirname, '../../docs/reliability.md');
const [from, to] = ['<!-- results: npm run test:faults -- --write -->', '<!-- end of results -->'];

const columns = [
  'fault',
  'processes',
  'orders',
  'refused',
  'no answer',
  'not ready after',
  'ready again',
  'orders accepted',
  'orders fulfilled',
  'all done',
  'result',
];

export function printTable(results: readonly (readonly [Cell, Result])[]): void {
  const rows = [columns, ...results.map(([cell, result]) => [cell.fault.name, ...cellsOf(cell, result)])];
  const widths = columns.map((_, nth) => Math.max(...rows.map((row) => row[nth]!.length)));
  for (const row of rows) console.log(row.map((text, nth) => text.padEnd(widths[nth]!)).join('  '));
}

/** Replaces the rows of the same cells and keeps those of the others. */
export function writeTable(results: readonly (readonly [Cell, Result])[]): void {
  const text = readFileSync(file, 'utf8');
  const [before, rest] = text.split(from);
  const [table, after] = (rest ?? '').split(to);
  if (before === undefined || table === undefined || after === undefined) throw new Error(`${file} lacks its markers`);
  const rows = new Map(
    table
      .split('\n')
      .filter((line) => /^\| .* \| [12] \|/.test(line))
      .map((line) => [keyOf(line), line]),
  );
  for (const [cell, result] of results) {
    const line = `| ${[whatOf(cell.fault, cell.short), ...cellsOf(cell, result)].join(' | ')} |`;
    rows.set(keyOf(line), line);
  }
  const order = faults.map((fault) => whatOf(fault, false));
  const place = (line: string) => 2 * order.indexOf(keyOf(line).split('|')[0]!) + Number(keyOf(line).split('|')[1]);
  const sorted = [...rows.values()].sort((a, b) => place(a) - place(b));
  const alignment = `| --- |${' --: |'.repeat(columns.length - 2)} :-: |`;
  const lines = ['', '', `| ${columns.join(' | ')} |`, alignment, ...sorted, '', ''];
  writeFileSync(file, `${before}${from}${lines.join('\n')}${to}${after}`);
}

function cellsOf({ replicas }: Cell, result: Result): string[] {
  const { orders, refused, lost, noticedMs, readyMs, acceptedMs, fulfilledMs, restedMs, violations } = result;
  return [
    ...[replicas, orders, refused, lost].map(String),
    ...[noticedMs, readyMs, acceptedMs, fulfilledMs, restedMs].map((ms) =>
      ms === undefined ? '–' : `${(ms / 1000).toFixed(1)} s`,
    ),
    violations.length === 0 ? 'holds' : `${violations.length} broken`,
  ];
}

/** Fault and number of processes. */
const keyOf = (line: string) =>
  line
    .split(' | ')
    .slice(0, 2)
    .map((text) => text.replace(/^\| /, ''))
    .join('|');
