import { checkInvariants, type Violation } from '../crash/invariants';
import type { Fault } from './faults';
import type { Load } from './load';
import type { Sample } from './probes';
import type { Site } from './site';

/** When what happened to a cell, in ms of the epoch. */
export interface Moments {
  /** The load runs, and nothing is wrong yet. */
  readonly begun: number;
  /** The fault is being prepared. */
  readonly struck: number;
  readonly broken: number;
  readonly mended: number;
  readonly loadEnded: number;
}

/** How soon it has to be back in service, in ms. */
export const recoveryMs = 10_000;
/** How soon it has to say that it is not ready, in ms. */
const noticedMs = 5000;

const aboutTheLedger = /^(the provider has|charges - refunds|of a cancelled order nothing|a payment knows)/;

/** What must hold for a cell, once everything has come to rest. */
export async function judge(site: Site, load: Load, fault: Fault, moments: Moments): Promise<Violation[]> {
  const found: Violation[] = [...load.violations];
  const log = await readOrders(site);
  const lost = new Set(load.orders.flatMap(({ id }) => (id !== undefined && !log.has(id) ? [id] : [])));
  if (fault.losesTail) {
    // sent before the end of it: what was committed then may be answered a little later
    const inTail = (sentAt: number) => sentAt <= moments.mended;
    const goneWith = load.orders.filter(({ id, sentAt }) => id && lost.has(id) && inTail(sentAt));
    const undone = [...load.cancelSentAt].filter(([id, at]) => log.get(id)?.asked === false && inTail(at));
    load.forget(new Set([...goneWith.map(({ id }) => id!), ...undone.map(([id]) => id)]));
  }
  const invariants = await checkInvariants(site.server.ownerUrl, load.books);
  // the sandbox's ledger goes back with the database that it is kept in, as no real provider's does
  found.push(...invariants.filter(({ invariant }) => !(fault.losesTail && aboutTheLedger.test(invariant))));
  for (const { id, reference, status, reason } of log.values()) {
    if (status !== 'order.cancelled' || load.mayBeCancelled.has(reference)) continue;
    found.push({ invariant: 'no order is cancelled that nobody cancelled', detail: `${reference} ${id}: ${reason}` });
  }
  for (const { id, at, what } of load.missed) {
    // sent before it was created, or lost: there was nothing to find
    if (!((log.get(id)?.createdAt ?? Infinity) < at)) continue;
    found.push({ invariant: 'no 404 for what exists', detail: `${what} at ${time(at)}` });
  }
  for (const { id, reference, first, again } of load.repeated) {
    if (fault.losesTail && (lost.has(id) || (log.get(id)?.createdAt ?? 0) > moments.struck)) continue;
    found.push({ invariant: 'a repeat is answered as the first', detail: `${reference}: ${first}, then ${again}` });
  }
  for (const { at, what } of load.refusals) {
    if (at > moments.struck && at <= moments.mended + recoveryMs) continue;
    const when = at <= moments.struck ? 'before the fault' : `${seconds(at - moments.mended)} after it`;
    found.push({ invariant: 'it is back in service within 10 s', detail: `${what} ${when}` });
  }
  return found;
}

/** What `/health/ready` said, against what it should have. */
export function judgeReadiness(samples: readonly Sample[], fault: Fault, moments: Moments): Violation[] {
  const { struck, broken, mended } = moments;
  const found: Violation[] = [];
  const say = ({ url, askedAt, status, said }: Sample, when: string) =>
    found.push({ invariant: 'readiness is the truth', detail: `${url} ${when} ${time(askedAt)}: ${status} ${said}` });
  for (const sample of samples) {
    const { askedAt, at, status } = sample;
    if (at < struck && status !== 200) say(sample, 'before the fault');
    if (status === 0) say(sample, 'does not answer');
    const isDuring = askedAt > broken + noticedMs && at < mended;
    if (fault.readiness === 'not ready' && isDuring && status === 200) {
      say(sample, `${seconds(askedAt - broken)} after the beginning`);
    }
    if (fault.readiness === 'ready' && askedAt > struck && status !== 200) say(sample, 'though nothing is in the way');
    if (askedAt > mended + recoveryMs && status !== 200) say(sample, `${seconds(askedAt - mended)} after the end`);
  }
  const noticed = samples.some(({ at, status }) => at > struck && at < mended && status === 503);
  if (fault.readiness === 'not ready' && !noticed) {
    found.push({ invariant: 'readiness is the truth', detail: 'it never said that it is not ready' });
  }
  return found;
}

interface LoggedOrder {
  readonly id: string;
  readonly reference: string;
  /** In ms of the epoch. */
  readonly createdAt: number;
  readonly status: string;
  /** Whether its cancellation was asked for. */
  readonly asked: boolean;
  readonly reason: string | null;
}

/** Every order of the log by its id. */
async function readOrders(site: Site): Promise<Map<string, LoggedOrder>> {
  const rows = await site.server.query<LoggedOrder>(
    `select c.aggregate_id as id, c.payload ->> 'reference' as reference,
            extract(epoch from c.recorded_at)::float8 * 1000 as "createdAt",
            coalesce(e.event_type, 'order.created') as status, e.payload::text as reason,
            exists (select from event_store.events a where a.aggregate_id = c.aggregate_id
                    and a.event_type = 'order.cancellation-requested') as asked
     from event_store.events c
     left join event_store.events e on e.aggregate_id = c.aggregate_id and e.event_type = 'order.cancelled'
     where c.event_type = 'order.created'`,
    [],
    'orderloom',
  );
  return new Map(rows.map((row) => [row.id, row]));
}

export const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;

const time = (ms: number) => new Date(ms).toISOString().slice(11, 23);
