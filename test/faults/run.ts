import { parseArgs } from 'node:util';
import { type Cell, type Result, runCell, whatOf } from './cell';
import { faults } from './faults';
import { seconds } from './judge';
import { printTable, writeTable } from './report';

const usage = `Breaks the database under a running app in every way we know of, under load, and checks what is left.

npm run test:faults -- [options]

  --fault NAME     only this fault; may be given several times
  --replicas N     only with 1 or with 2 processes (default: both)
  --seed N         the same seed makes the same customers (default: random)
  --short          a few cells with shorter faults, in at most 150 s: what CI runs
  --write          put the results into docs/reliability.md, in the place of earlier ones of the same cells
  --help           this text

Faults: ${faults.map(({ name }) => name).join(', ')}
disk-full mounts a small file system, which only root may do on Linux.`;

/** One of each kind: a session that went bad, no session to be had, no answer, and a log that went back. */
const shortCells: readonly (readonly [fault: string, replicas: number])[] = [
  ['read-only', 2],
  ['connections-exhausted', 1],
  ['server-frozen', 1],
  ['failover', 2],
];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      fault: { type: 'string', multiple: true },
      replicas: { type: 'string' },
      seed: { type: 'string' },
      short: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(usage);
  const { short } = values;
  const seed = Number(values.seed ?? Math.floor(Math.random() * 1e6));
  const unknown = values.fault?.find((name) => !faults.some((fault) => fault.name === name));
  if (!Number.isInteger(seed) || seed < 0 || !/^[12]?$/.test(values.replicas ?? '') || unknown) throw new Error(usage);

  const isChosen = (fault: string, replicas: number) => {
    if (values.replicas && Number(values.replicas) !== replicas) return false;
    if (values.fault) return values.fault.includes(fault);
    return !short || shortCells.some(([name, count]) => name === fault && count === replicas);
  };
  const cells = faults.flatMap((fault) =>
    [1, 2].filter((replicas) => isChosen(fault.name, replicas)).map((replicas) => ({ fault, replicas, short, seed })),
  );
  console.log(`Seed ${seed}: ${cells.length} cells${short ? ', short' : ''}`);
  const begun = Date.now();
  const results: (readonly [Cell, Result])[] = [];
  const failed: Cell[] = [];
  for (const [nth, cell] of cells.entries()) {
    if (cell.fault.site?.disk && process.getuid?.() !== 0) {
      console.log(`${labelOf(cell)}: not run, it needs root to mount a small disk`);
      continue;
    }
    console.log(`${labelOf(cell)} (${nth + 1} of ${cells.length}): ${whatOf(cell.fault, short)}`);
    try {
      const result = await runCell(cell, (line) =>
        console.log(`    ${new Date().toISOString().slice(11, 19)} ${line}`),
      );
      results.push([cell, result]);
      report(cell, result);
      if (result.violations.length > 0) failed.push(cell);
    } catch (error) {
      // what breaks one cell leaves the others as they are
      failed.push(cell);
      console.error(error);
    }
  }
  printTable(results);
  if (values.write) writeTable(results);
  const holding = results.filter(([, { violations }]) => violations.length === 0).length;
  console.log(
    `${holding} of ${cells.length} cells hold, in ${seconds(Date.now() - begun)}` +
      failed.map((cell) => `\n    again: ${commandOf(cell)}`).join(''),
  );
  process.exitCode = failed.length === 0 ? 0 : 1;
}

function report(cell: Cell, { violations }: Result): void {
  if (violations.length === 0) return console.log('    all invariants hold');
  for (const invariant of new Set(violations.map((each) => each.invariant))) {
    const each = violations.filter((violation) => violation.invariant === invariant);
    console.log(`    BROKEN (${each.length}): ${invariant}`);
    for (const { detail } of each.slice(0, 5)) console.log(`        ${detail.slice(0, 1500)}`);
  }
  console.log(`    again: ${commandOf(cell)}`);
}

const labelOf = ({ fault, replicas }: Cell) => `${fault.name} × ${replicas}`;

const commandOf = ({ fault, replicas, short, seed }: Cell) =>
  `npm run test:faults -- --fault ${fault.name} --replicas ${replicas} --seed ${seed}${short ? ' --short' : ''}`;

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
