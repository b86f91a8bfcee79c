import { parseArgs } from 'node:util';
import { Client } from 'pg';
import type { OpenAPIObject } from '@nestjs/swagger';
import { checkInvariants } from '../crash/invariants';
import { isReady } from '../process/app-process';
import { AppDatabase } from './database';
import { ApiDocument } from './document';
import { unreachable } from './knowledge';
import { errorsInLog } from './oracles';
import { Report } from './report';
import { foreignTarget, startTarget, type Target } from './server';
import { Session } from './session';

const usage = `Sends requests made from the app's OpenAPI document, valid and hostile ones, and judges every answer.

npm run test:fuzz -- [options]

  --requests N     how many requests (default 20000; without a limit when --minutes is given)
  --minutes M      stop after that long
  --seed N         the same seed makes the same requests, but for ids that the app hands out (default: random)
  --first N        begin with the N-th request of that seed
  --concurrency C  requests at a time (default 12); with 1, also their order is the same each time
  --url URL        an app that runs already, instead of one of its own. It will be full of nonsense afterwards.
                   ADMIN_EMAIL and ADMIN_PASSWORD name its administrator; with DATABASE_URL, events and rows are checked.
  --help           this text`;

/** Requests between two quiet times, and those that are sent alone in each of them. */
const batchSize = 1000;
const alone = 25;
/** The app takes a quarter of it when it is idle. */
const maxMemoryMiB = 1024;

interface Options {
  readonly seed: number;
  readonly first: number;
  readonly requests: number;
  readonly deadline: number;
  readonly concurrency: number;
}

async function fuzz(target: Target, options: Options): Promise<boolean> {
  const response = await fetch(`${target.url}/openapi.json`);
  if (!response.ok) throw new Error(`${target.url}/openapi.json answers ${response.status}: is DOCS on?`);
  const document = new ApiDocument((await response.json()) as OpenAPIObject);
  const database = target.databaseUrl === undefined ? undefined : await AppDatabase.open(target.databaseUrl);
  const report = new Report(options.seed, target.url);
  const session = new Session(target, document, database, report, options.seed, options.concurrency);
  const begun = Date.now();
  try {
    await session.open();
    console.log(`Seed ${options.seed}: ${document.operations.length} operations of ${target.url}`);
    const sent = await send(session, options, report);
    const rested = await session.rest(90_000);
    if (!rested) report.note({ oracle: 'everything comes to its end', detail: 'after 90 s something is under way' });
    await session.quiet(options.first + sent, 0);
    const seconds = (Date.now() - begun) / 1000;
    await judgeTarget(target, report);
    for (const fault of report.unreached(document.operations, unreachable)) report.note(fault);
    report.print(document.operations, unreachable);
    const { compared, restless, rests } = session.probes;
    const statuses = [...report.statuses].sort().map(([status, count]) => `${count} × ${status}`);
    const memory = target.memory();
    console.log(
      `\n${sent} requests in ${seconds.toFixed(0)} s (${Math.round(sent / seconds)}/s): ${statuses.join(', ')}`,
    );
    console.log(`Slowest ${Math.round(session.slowest.ms)} ms: ${session.slowest.what}`);
    console.log(`Largest ${session.largest.bytes} bytes: ${session.largest.what}`);
    console.log(
      `All tables compared around ${compared} refused requests; ${restless} of ${rests} times it did not come to rest`,
    );
    if (database) console.log(await database.describe());
    const { user, system } = process.cpuUsage();
    if (memory) {
      console.log(
        `The app takes ${memory.now} MiB, at most ${memory.most} MiB; it computed ${Math.round(memory.cpuSeconds)} s, ` +
          `the fuzzer ${Math.round((user + system) / 1e6)} s`,
      );
    }
    console.log(report.count === 0 ? 'Nothing found' : `${report.count} kinds of failure (seed ${options.seed})`);
    return report.count === 0;
  } finally {
    session.close();
    await database?.close();
  }
}

/** @returns how many requests were sent */
async function send(
  session: Session,
  { first, requests, deadline, concurrency }: Options,
  report: Report,
): Promise<number> {
  const begun = Date.now();
  let told = begun;
  const onProgress = (next: number) => {
    if (Date.now() - told < 5000) return;
    told = Date.now();
    const done = next - first;
    const rate = Math.round((1000 * done) / (told - begun));
    console.log(`  ${done} requests, ${rate}/s, ${concurrency} at a time; ${report.count} kinds of failure`);
  };
  let next = first;
  while (next < first + requests && Date.now() < deadline) {
    const quiet = Math.min(alone, Math.floor((first + requests - next) / 4));
    const last = Math.min(next + batchSize, first + requests - quiet);
    await session.batch(next, last, onProgress);
    await session.quiet(last, quiet);
    next = last + quiet;
  }
  return next - first;
}

async function judgeTarget(target: Target, report: Report): Promise<void> {
  if (!(await isReady(target.url)))
    report.note({ oracle: 'the app is ready afterwards', detail: target.log().slice(-3000) });
  for (const fault of errorsInLog(target.log())) report.note(fault);
  const memory = target.memory();
  if (memory && memory.most > maxMemoryMiB) {
    report.note({ oracle: 'memory is bounded', detail: `${memory.most} MiB, at most ${maxMemoryMiB} are fine` });
  }
  if (target.databaseUrl === undefined) return;
  const resolved = await resolvedByHand(target.databaseUrl);
  for (const { invariant, detail } of await checkInvariants(target.databaseUrl)) {
    if (!resolved.some((order) => detail.includes(order))) report.note({ oracle: invariant, detail });
  }
}

/** Orders whose saga somebody told to leave a compensation undone: they are as that person wanted it. */
async function resolvedByHand(databaseUrl: string): Promise<string[]> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ id: string }>(
      `select distinct s.payload ->> 'subject' as id from event_store.events r
       join event_store.events s on s.aggregate_id = r.aggregate_id and s.event_type = 'saga.started'
       where r.event_type = 'saga.resolved'`,
    );
    return rows.map(({ id }) => id);
  } finally {
    await client.end();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      requests: { type: 'string' },
      minutes: { type: 'string' },
      seed: { type: 'string' },
      first: { type: 'string', default: '0' },
      concurrency: { type: 'string', default: '12' },
      url: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(usage);
  const seed = Number(values.seed ?? Math.floor(Math.random() * 1e6));
  const minutes = Number(values.minutes ?? Infinity);
  const requests = Number(values.requests ?? (values.minutes === undefined ? 20_000 : Infinity));
  const [first, concurrency] = [Number(values.first), Number(values.concurrency)];
  const natural = [seed, first].every((n) => Number.isInteger(n) && n >= 0);
  if (!natural || !(minutes > 0) || !(requests > 0) || !(Number.isInteger(concurrency) && concurrency > 0))
    throw new Error(usage);
  const options = { seed, first, requests, concurrency, deadline: Date.now() + minutes * 60_000 };
  const { ADMIN_EMAIL = 'admin@orderloom.local', ADMIN_PASSWORD = '', DATABASE_URL } = process.env;
  const target =
    values.url === undefined
      ? await startTarget()
      : foreignTarget(values.url, ADMIN_EMAIL, ADMIN_PASSWORD, DATABASE_URL);
  let ok = false;
  try {
    ok = await fuzz(target, options);
  } finally {
    await target.close();
  }
  process.exitCode = ok ? 0 : 1;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
