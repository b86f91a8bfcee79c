import { setTimeout as delay } from 'node:timers/promises';
import type { SpanContext } from '@opentelemetry/api';
import type { Pool } from 'pg';
import { isConnectionError, isContention } from '../database/errors';
import { isInfrastructure } from '../fault';
import { activeSpanContext, isSampled, traced } from '../tracing/tracing';
import { appendConnections } from '../database/database';
import { OverloadError } from './errors';
import type { Aggregate, ExpectedVersion } from './event';

/** One command's events, ready for the wire. */
export interface Append {
  readonly aggregate: Aggregate;
  readonly expected: ExpectedVersion;
  readonly events: readonly AppendEvent[];
}

/** The first event of a command has the command's id as its own. */
export interface AppendEvent {
  readonly id: string;
  readonly type: string;
  readonly schemaVersion: number;
  readonly payload: string;
  readonly metadata: string;
}

export interface AppendOutcome {
  /** `orphan`: the event that it follows from is not in the log. */
  readonly status: 'ok' | 'conflict' | 'duplicate' | 'orphan';
  /** Version of the command's last event; otherwise the version that the aggregate is at. */
  readonly version: number;
  /** Log position of the command's last event; 0 when nothing was appended. */
  readonly position: number;
  readonly recordedAt: Date;
}

interface Waiting {
  readonly append: Append;
  readonly bytes: number;
  /** The span of whoever waits. */
  readonly cause: SpanContext | undefined;
  resolve(outcome: AppendOutcome): void;
  reject(error: unknown): void;
}

export interface GroupCommitLimits {
  readonly batchCommands: number;
  /** How many have to wait to be sent as a second batch while one is in flight. */
  readonly laneCommands: number;
  readonly batchBytes: number;
  readonly queuedCommands: number;
  readonly queuedBytes: number;
  /** How long a batch whose outcome the network swallowed is sent again, in ms. */
  readonly resendMs: number;
}

/** What operators see of appending. */
export interface AppendStats {
  /** Commands since this process began. `failed`: the log gave no answer; `refused`: the queue was full. */
  readonly outcomes: Record<AppendOutcome['status'] | 'failed' | 'refused', number>;
  /** Commands that have not been sent yet. */
  readonly queued: number;
  /** For how long the oldest batch has been on its way, in ms; 0 when none is. */
  readonly unansweredMs: number;
  /** For how long all batches have failed by the infrastructure, in ms; 0 when the last one did not, or was long ago. */
  readonly failingMs: number;
}

/** Hears of every batch that was answered, and how long that took without the wait in the queue. */
export type BatchListener = (commands: number, ms: number) => void;

/** A batch that takes so long may be stuck on a broken line: others need not wait for it, in ms. */
const stuckMs = 250;

/** Without another try, a failure says nothing about the present after this time, in ms. */
const failingForMs = 10_000;

const defaults: GroupCommitLimits = {
  batchCommands: 256,
  laneCommands: 16,
  batchBytes: 4 << 20,
  queuedCommands: 10_000,
  queuedBytes: 64 << 20,
  resendMs: 10_000,
};

/**
 * Concurrent appends of this process share a transaction: sent when nothing else is on its way, or when enough of them
 * wait. The log takes one batch after the other; but what it costs to put one together, to send it and to read its answer
 * is spent while the other is being committed. A lone append waits for nobody.
 */
export class GroupCommit {
  private readonly queue: Waiting[] = [];
  private queuedBytes = 0;
  /** What is on its way, the oldest first. */
  private readonly inFlight = new Set<{ readonly sentAt: number }>();
  private later: NodeJS.Timeout | undefined;
  private dispatching = false;
  private failing: { readonly since: number; readonly last: number } | undefined;
  /** Aggregates and commands that are on their way: what follows for them has to stay behind. */
  private readonly flying = new Set<string>();
  readonly outcomes: AppendStats['outcomes'] = { ok: 0, conflict: 0, duplicate: 0, orphan: 0, failed: 0, refused: 0 };
  onBatch: BatchListener = () => undefined;
  private readonly limits: GroupCommitLimits;

  constructor(
    private readonly pool: Pool,
    limits: Partial<GroupCommitLimits> = {},
  ) {
    this.limits = { ...defaults, ...limits };
  }

  get queued(): number {
    return this.queue.length;
  }

  get failingMs(): number {
    if (!this.failing || performance.now() - this.failing.last > failingForMs) return 0;
    return performance.now() - this.failing.since;
  }

  get unansweredMs(): number {
    const [oldest] = this.inFlight;
    return oldest ? performance.now() - oldest.sentAt : 0;
  }

  append(append: Append): Promise<AppendOutcome> {
    const bytes = append.events.reduce((sum, event) => sum + event.payload.length + event.metadata.length, 0);
    const { queuedCommands, queuedBytes } = this.limits;
    if (this.queue.length >= queuedCommands || this.queuedBytes + bytes > queuedBytes) {
      this.outcomes.refused++;
      return Promise.reject(new OverloadError('The event log has more waiting than it can take. Try again shortly.'));
    }
    return new Promise((resolve, reject) => {
      this.queue.push({ append, bytes, cause: activeSpanContext(), resolve, reject });
      this.queuedBytes += bytes;
      this.dispatchSoon();
    });
  }

  /** Once those who have just been answered, and are about to append again, have done so: they share a batch. */
  private dispatchSoon(): void {
    if (this.dispatching || this.inFlight.size === appendConnections) return;
    this.dispatching = true;
    setImmediate(() => {
      this.dispatching = false;
      this.dispatch();
    });
  }

  /** In case what is on its way does not come back. */
  private dispatchLater(): void {
    this.later ??= setTimeout(() => {
      this.later = undefined;
      this.dispatchSoon();
    }, stuckMs).unref();
  }

  private dispatch(): void {
    const { laneCommands, batchCommands } = this.limits;
    while (this.queue.length > 0 && this.inFlight.size < appendConnections) {
      const waiting = this.queue.length;
      // few had better wait, and share the next commit, than have one of their own
      const [oldest] = this.inFlight;
      if (oldest && waiting < laneCommands && performance.now() - oldest.sentAt < stuckMs) return this.dispatchLater();
      const half = !oldest && waiting >= 2 * laneCommands ? Math.ceil(waiting / 2) : waiting;
      const batch = this.nextBatch(Math.min(half, batchCommands));
      if (batch.length === 0) return;
      const ids = batch.flatMap(({ append }) => [append.aggregate.id, append.events[0]!.id]);
      for (const id of ids) this.flying.add(id);
      const flight = { sentAt: performance.now() };
      this.inFlight.add(flight);
      void this.send(batch).finally(() => {
        this.inFlight.delete(flight);
        for (const id of ids) this.flying.delete(id);
        this.dispatchSoon();
      });
    }
  }

  /** From the front of the queue, at most one command an aggregate and one a command id: the rest waits its turn. */
  private nextBatch(commands: number): Waiting[] {
    const batch: Waiting[] = [];
    const held: Waiting[] = [];
    const seen = new Set(this.flying);
    let bytes = 0;
    let taken = 0;
    for (const waiting of this.queue) {
      if (batch.length >= commands || (bytes > 0 && bytes + waiting.bytes > this.limits.batchBytes)) break;
      taken++;
      const { aggregate, events } = waiting.append;
      const command = events[0]!.id;
      if (seen.has(aggregate.id) || seen.has(command)) {
        held.push(waiting);
        // what follows for the same aggregate has to stay behind it
        seen.add(aggregate.id);
        continue;
      }
      seen.add(aggregate.id).add(command);
      batch.push(waiting);
      bytes += waiting.bytes;
    }
    this.queue.splice(0, taken, ...held);
    this.queuedBytes -= bytes;
    return batch;
  }

  private async send(batch: Waiting[]): Promise<void> {
    let outcomes: AppendOutcome[];
    const began = performance.now();
    const describe = () => ({
      causes: batch.flatMap(({ cause }) => (cause && isSampled(cause) ? [cause] : [])),
      attributes: { 'orderloom.commit.commands': batch.length },
    });
    try {
      outcomes = await traced('commit', describe, () => this.write(batch.map((waiting) => waiting.append)));
    } catch (error) {
      // A lost or full server, or a log that stayed locked, says nothing against any of them.
      if (batch.length === 1 || isInfrastructure(error)) {
        for (const waiting of batch) waiting.reject(error);
        if (isInfrastructure(error)) this.failed();
        this.outcomes.failed += batch.length;
        return;
      }
      // One command's data took the whole batch down: halve until it stands alone.
      const half = batch.length >> 1;
      await this.send(batch.slice(0, half));
      return this.send(batch.slice(half));
    }
    this.failing = undefined;
    this.onBatch(batch.length, performance.now() - began);
    for (const { status } of outcomes) this.outcomes[status]++;
    batch.forEach((waiting, nth) => waiting.resolve(outcomes[nth]!));
  }

  /** The server has just refused to write. */
  failed(): void {
    const last = performance.now();
    this.failing = { since: this.failingMs > 0 ? this.failing!.since : last, last };
  }

  /**
   * Sends the batch again when its outcome is unknown (the connection was lost) or when Postgres rolled it back (a
   * deadlock). What was committed all the same is found by its command ids.
   */
  private async write(appends: Append[]): Promise<AppendOutcome[]> {
    const deadline = Date.now() + this.limits.resendMs;
    for (let pause = 20; ; pause = Math.min(pause * 2, 1000)) {
      try {
        return await appendAll(this.pool, appends);
      } catch (error) {
        const isWorthIt = isConnectionError(error) || isContention(error);
        if (!isWorthIt || Date.now() + pause > deadline) throw error;
        await delay(pause);
      }
    }
  }
}

export interface Queryable {
  query(config: { name?: string; text: string; values: unknown[] }): Promise<{ rows: unknown[] }>;
}

interface OutcomeRow {
  status: AppendOutcome['status'];
  version: number;
  position: string | null;
  recorded_at: Date;
}

/** One round trip, one transaction, however many commands. */
export async function appendAll(db: Queryable, appends: readonly Append[]): Promise<AppendOutcome[]> {
  const events = appends.flatMap((append) => append.events);
  const { rows } = await db.query({
    name: 'event_store.append',
    text: 'select * from event_store.append($1, $2, $3, $4, $5, $6, $7, $8::text[]::jsonb[], $9::text[]::jsonb[])',
    values: [
      appends.map(({ aggregate }) => aggregate.id),
      appends.map(({ aggregate }) => aggregate.type),
      appends.map(({ expected }) => (expected === 'any' ? null : expected === 'noStream' ? 0 : expected)),
      appends.map((append) => append.events.length),
      events.map((event) => event.id),
      events.map((event) => event.type),
      events.map((event) => event.schemaVersion),
      events.map((event) => event.payload),
      events.map((event) => event.metadata),
    ],
  });
  return (rows as OutcomeRow[]).map((row) => ({
    status: row.status,
    version: row.version,
    position: Number(row.position ?? 0),
    recordedAt: row.recorded_at,
  }));
}
