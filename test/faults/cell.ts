import { setTimeout as delay } from 'node:timers/promises';
import type { Violation } from '../crash/invariants';
import type { Fault } from './faults';
import { judge, judgeReadiness, type Moments, recoveryMs, seconds } from './judge';
import { Load } from './load';
import { Probes, type Sample } from './probes';
import { admin, Site } from './site';

export interface Cell {
  readonly fault: Fault;
  readonly replicas: number;
  readonly short: boolean;
  readonly seed: number;
}

/** What a cell came to; times in ms, undefined for what never happened. */
export interface Result {
  readonly orders: number;
  /** Requests that were answered 503, and that got no answer. */
  readonly refused: number;
  readonly lost: number;
  /** From the beginning of the fault to the first 503 of `/health/ready`. */
  readonly noticedMs: number | undefined;
  /** What it said then. */
  readonly said: string;
  /** From the end of the fault: until every process is ready for good, has accepted a new order, and an order is fulfilled. */
  readonly readyMs: number | undefined;
  readonly acceptedMs: number | undefined;
  readonly fulfilledMs: number | undefined;
  /** From the end of the load until nothing is left to do. */
  readonly restedMs: number | undefined;
  readonly violations: readonly Violation[];
}

/** How long the load goes on once everything works again, in ms. */
const steadyMs = 3000;
/** Recovery is waited for longer than it may take, to learn how long it takes. */
const recoveryLimitMs = 40_000;
const restLimitMs = 90_000;

/** Breaks an app of its own under load, and looks at what is left of it. */
export async function runCell(
  { fault, replicas, short, seed }: Cell,
  progress: (line: string) => void,
): Promise<Result> {
  const site = await Site.open({ ...fault.site, replicas });
  let result: Result | undefined;
  try {
    const load = new Load(site.urls, seed);
    await load.open(admin.email, admin.password);
    const probes = new Probes(site.urls);
    const begun = Date.now();
    load.start();
    await delay(short ? 2000 : 5000);

    progress(`${load.orders.length} orders placed, now: ${whatOf(fault, short)}`);
    const struck = Date.now();
    let broken = struck;
    await fault.strike(site, async () => {
      broken = Date.now();
      await delay(fault.seconds[short ? 1 : 0] * 1000);
    });
    const mended = Date.now();
    progress(`mended after ${seconds(mended - broken)}, ${load.refusals.length} requests refused so far`);

    const recovered = await recovery(site, load, mended);
    if (!short) await delay(Math.max(0, mended + recoveryMs - Date.now()));
    await delay(steadyMs);
    await load.stop();
    const loadEnded = Date.now();
    const answered = await load.settled(60_000);
    const rested = await reached(() => atRest(site), restLimitMs);
    const restedMs = rested ? Date.now() - loadEnded : undefined;
    await probes.stop();
    progress(`at rest ${restedMs === undefined ? 'never' : seconds(restedMs)} after the last order`);

    const moments: Moments = { begun, struck, broken, mended, loadEnded };
    const violations = await judge(site, load, fault, moments);
    violations.push(...judgeReadiness(probes.samples, fault, moments));
    for (const [what, ms] of Object.entries(recovered)) {
      if (ms !== undefined && ms <= recoveryMs) continue;
      const detail = ms === undefined ? 'not at all' : seconds(ms);
      violations.push({ invariant: 'it is back in service within 10 s', detail: `${what}: ${detail}` });
    }
    if (!answered) violations.push({ invariant: 'a client gets an answer', detail: 'not 60 s after the last order' });
    if (!rested) violations.push({ invariant: 'everything comes to its end', detail: await whatIsLeft(site) });
    const isNoticed = [...load.refusals, ...probes.samples.filter(({ status }) => status !== 200)].some(
      ({ at }) => at > struck && at < mended,
    );
    if (fault.readiness === 'not ready' && !isNoticed) {
      violations.push({ invariant: 'the test does what it says', detail: 'nobody noticed the fault' });
    }
    for (const app of site.apps) {
      if (!app.running) violations.push({ invariant: 'the app stays up', detail: app.output.slice(-3000) });
    }
    for (const detail of await site.shutDown()) violations.push({ invariant: 'SIGTERM ends in order', detail });
    const noticed = probes.samples.find(({ askedAt, status }) => askedAt >= struck && status === 503);
    result = {
      orders: load.orders.length,
      refused: load.refusals.filter(({ what }) => what !== 'no answer').length,
      lost: load.refusals.filter(({ what }) => what === 'no answer').length,
      noticedMs: noticed && Math.max(0, noticed.at - broken),
      said: noticed?.said ?? '',
      readyMs: readyAgain(probes.samples, mended),
      acceptedMs: recovered.accepted,
      fulfilledMs: recovered.fulfilled,
      restedMs,
      violations,
    };
    if (violations.length > 0) progress(`The app said:\n${site.output.slice(-12_000)}`);
    return result;
  } finally {
    await site.close(result !== undefined && result.violations.length > 0 && process.env['KEEP'] !== undefined);
  }
}

export function whatOf({ what, seconds: [full, brief] }: Fault, short: boolean): string {
  return what.replace('{s}', `${short ? brief : full} s`);
}

/** Times from the fault's end until every process has accepted a new order, and until an order is fulfilled. */
async function recovery(site: Site, load: Load, mended: number) {
  let accepted: number | undefined;
  let fulfilled: number | undefined;
  await reached(async () => {
    const fresh = load.orders.filter(({ sentAt, acceptedAt }) => sentAt >= mended && acceptedAt !== undefined);
    const firsts = site.urls.map((url) => fresh.find((order) => order.url === url)?.acceptedAt);
    if (firsts.every((at) => at !== undefined)) accepted = Math.max(...firsts.map((at) => at - mended));
    const [row] = await site.server
      .query<{ at: Date | null }>(
        `select min(recorded_at) as at from event_store.events
         where event_type = 'order.fulfilling' and recorded_at > to_timestamp($1)`,
        [mended / 1000],
        'orderloom',
      )
      .catch(() => []);
    if (row?.at) fulfilled = row.at.getTime() - mended;
    return accepted !== undefined && fulfilled !== undefined;
  }, recoveryLimitMs);
  return { accepted, fulfilled };
}

/** From the fault's end until every process was ready and stayed so. */
function readyAgain(samples: readonly Sample[], mended: number): number | undefined {
  const last = samples.findLast(({ status }) => status !== 200);
  if (last === undefined || last.at <= mended) return 0;
  const next = samples.find(({ url, askedAt }) => url === last.url && askedAt >= last.at);
  return next && next.at - mended;
}

/** By the log and the checkpoints: nothing is under way, and nobody is behind. */
async function atRest(site: Site): Promise<boolean> {
  const look = () =>
    site.server.query<{ head: string; left: number }>(
      `select (select coalesce(max(position), 0) from event_store.events) as head,
              (select count(*) from subscriptions.checkpoints c
               where position < (select max(position) from event_store.events))::int
              + (select count(*) from (
                   select distinct on (aggregate_id) event_type from event_store.events
                   where aggregate_type = 'saga' order by aggregate_id, version desc) s
                 where event_type not in ('saga.completed', 'saga.compensated'))::int as left`,
      [],
      'orderloom',
    );
  const [before] = await look();
  if (before!.left > 0) return false;
  await delay(500);
  const [after] = await look();
  return after!.left === 0 && after!.head === before!.head;
}

async function whatIsLeft(site: Site): Promise<string> {
  const sagas = await site.server.query(
    `select id, subject, status, step, attempt, error, due_at from sagas.instances
     where status not in ('completed', 'compensated') limit 5`,
    [],
    'orderloom',
  );
  const behind = await site.server.query(
    `select name, position, owner, lease_until from subscriptions.checkpoints
     where position < (select max(position) from event_store.events)`,
    [],
    'orderloom',
  );
  return JSON.stringify({ sagas, behind });
}

async function reached(condition: () => Promise<boolean>, patienceMs: number): Promise<boolean> {
  for (const deadline = Date.now() + patienceMs; Date.now() < deadline; await delay(250)) {
    if (await condition()) return true;
  }
  return false;
}
