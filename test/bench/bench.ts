import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { append, insert, lone } from './appending';
import { catchUp } from './catching-up';
import { gateway } from './gateway';
import { growth } from './growing';
import { load } from './loading';
import { plot } from './plot';
import { type Comparison, type Machine, markdown, table } from './report';
import { type Server, startServer } from './server';

export interface Run {
  readonly server: Server;
  /** Measured rounds a contender, behind one for warming up. */
  readonly rounds: number;
  /** Length of a round of appends. */
  readonly seconds: number;
  /** Length of the log that a projection catches up with. */
  readonly events: number;
  /** Also what takes long: the log of ten million events. */
  readonly full: boolean;
  progress(line: string): void;
}

export interface Bench {
  readonly name: string;
  readonly about: string;
  run(run: Run): Promise<Comparison[]>;
}

const benches: readonly Bench[] = [append, insert, lone, catchUp, load, growth, gateway];

const usage = `Usage: npm run bench -- [options]

Measures Orderloom against its peers on this machine, prints the tables, and writes performance.md and performance.svg.
Exits with 1 when a goal is missed.

  --only NAME,…   of the benches below; the table is then printed and not written, unless --out is given
  --rounds N      measured rounds a contender (5)
  --seconds S     length of a round of appends (2)
  --events N      length of the log that projections catch up with (200000)
  --full          also with ten million events in the log: takes twice as long, and 10 GB of disk
  --out DIR       where to write (docs)
  --help

${benches.map(({ name, about }) => `  ${name.padEnd(12)}  ${about}`).join('\n')}
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '2' },
      events: { type: 'string', default: '200000' },
      full: { type: 'boolean', default: false },
      out: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(usage);
    return 0;
  }
  const [rounds, seconds, events] = [values.rounds, values.seconds, values.events].map(Number) as [
    number,
    number,
    number,
  ];
  const names = values.only?.split(',') ?? benches.map(({ name }) => name);
  const chosen = benches.filter(({ name }) => names.includes(name));
  if (![rounds, seconds, events].every((number) => number > 0) || chosen.length < names.length) {
    process.stderr.write(usage);
    return 2;
  }
  const begun = performance.now();
  const progress = (line: string) => {
    process.stderr.write(`${((performance.now() - begun) / 1000).toFixed(0).padStart(4)} s  ${line}\n`);
  };
  const server = await startServer();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void server.stop().finally(() => process.exit(1)));
  }
  const comparisons: Comparison[] = [];
  let machine: Machine;
  try {
    machine = await describe(server, `${rounds} rounds`);
    for (const bench of chosen) {
      for (const comparison of await bench.run({ server, rounds, seconds, events, full: values.full, progress })) {
        comparisons.push(comparison);
        process.stdout.write(`\n${comparison.title}\n\n${table(comparison)}\n`);
      }
    }
  } finally {
    await server.stop();
  }
  if (!values.only || values.out) {
    const out = resolve(values.out ?? join(__dirname, '../../docs'));
    mkdirSync(out, { recursive: true });
    writeFileSync(join(out, 'performance.md'), markdown(comparisons, machine));
    writeFileSync(join(out, 'performance.svg'), plot(comparisons));
    progress('written: performance.md, performance.svg');
  }
  const missed = comparisons.flatMap(({ title, lines }) =>
    lines.filter(({ goal }) => goal && !goal.met).map((line) => `${title}: ${line.contender}, ${line.goal!.missing}`),
  );
  for (const line of missed) process.stderr.write(`Missed: ${line}\n`);
  return missed.length > 0 ? 1 : 0;
}

async function describe(server: Server, run: string): Promise<Machine> {
  const [{ version, fsync, commit } = { version: '', fsync: '', commit: '' }] = await server.query<
    Record<'version' | 'fsync' | 'commit', string>
  >(`select current_setting('server_version') as version, current_setting('fsync') as fsync,
            current_setting('synchronous_commit') as commit`);
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memory: `${Math.round(totalmem() / 2 ** 30)} GB`,
    node: process.version.slice(1),
    postgres: version,
    durability: `fsync ${fsync}, synchronous_commit ${commit}; all contenders alike`,
    date: new Date().toISOString().slice(0, 10),
    run,
  };
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(1);
  },
);
