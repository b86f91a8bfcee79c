import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import type { Database } from '../database/database';
import type { StoredEvent } from '../event-store/event';
import type { EventStore } from '../event-store/event-store';
import { currentSchemaVersion } from '../event-store/upcasting';
import { retryAfterMs } from '../resilience/retry-after';
import { DeadLetterBox, type OpenLetter } from './dead-letter-box';
import { faultOf, messageOf } from '../fault';
import { RepeatedWarning } from '../repeated-warning';
import { Fenced } from './fencing';
import type { Lease, LeaseHolder } from './leases';
import type { LogPage, LogTail } from './log-tail';
import { Waiting } from './waiting';

export interface RetryOptions {
  /** Tries of one event before it becomes a dead letter. */
  readonly attempts: number;
  /** First pause in ms; doubles with each further one, with full jitter. */
  readonly backoffMs: number;
  readonly maxBackoffMs: number;
  /**
   * For how long an event may wait for a target that asks for patience (`retryAfterMs`), in ms, before it becomes a dead
   * letter. Counted in memory by the process that runs the subscription, so it starts at zero after a restart.
   */
  readonly patienceMs: number;
  /** How long a handler may take for one event, in ms. One that does not settle has failed. */
  readonly deliveryMs: number;
}

export interface RunnerDependencies {
  readonly database: Database;
  readonly store: EventStore;
  readonly tail: LogTail;
  readonly retry: RetryOptions;
  /** The lease is no use to this worker any more. */
  readonly forget: (lease: Lease) => void;
}

const replayPollMs = 1000;

/** Which share of a subscription's partitions a worker has. */
export interface Share {
  readonly segment: number;
  readonly segments: number;
}

/** What all durable readers of the log have in common: running while they hold the lease, retrying, being waited for. */
export abstract class Runner implements LeaseHolder {
  abstract readonly kind: 'projection' | 'reaction';
  abstract readonly version: number;
  readonly segment: number;
  private readonly segments: number;
  private handled = 0;
  private retried = 0;
  protected readonly logger: Logger;
  private readonly unreadable: RepeatedWarning;
  private readonly unfit: RepeatedWarning;
  protected readonly letters: DeadLetterBox;
  protected readonly waits: Waiting;
  protected lease: Lease | undefined;
  private readonly waiters = new Set<{ position: number; resolve: () => void }>();
  private abort = new AbortController();
  private running: Promise<void> = Promise.resolve();
  private done = 0;
  /** When it last got on, or tried to, in ms of `performance.now()`. */
  private activeAt = 0;
  private stopped = false;

  constructor(
    readonly name: string,
    { segment, segments }: Share,
    protected readonly deps: RunnerDependencies,
  ) {
    this.segment = segment;
    this.segments = segments;
    this.logger = new Logger(`Subscription ${name}${segments > 1 ? `#${segment}` : ''}`);
    this.unreadable = new RepeatedWarning(this.logger, 'Cannot read the log, trying again');
    this.unfit = new RepeatedWarning(this.logger, 'Stopped, and will be claimed anew');
    this.letters = new DeadLetterBox(deps.database, name);
    this.waits = new Waiting(this.logger);
  }

  get events(): Readonly<Record<string, number>> {
    return schemaVersions(this.types);
  }

  /** True while this process runs the subscription. */
  get active(): boolean {
    return this.lease !== undefined;
  }

  /** Events handled since this process began; its growth is the rate. */
  get count(): number {
    return this.handled;
  }

  /** Times that it had to try again since this process began, whatever was in the way. */
  get retries(): number {
    return this.retried;
  }

  /** Events in hand that wait for the database or for a target that is not ready. */
  get waiting(): number {
    return this.waits.count;
  }

  /**
   * For how long, in ms, this process has not got on with what is there to do: it waits for the database, or has neither
   * handled nor tried anything. A target outside that asks for patience is no such reason.
   */
  get stalledMs(): number {
    if (!this.active || !this.deps.tail.hasNews(this.done)) return 0;
    const { infrastructureMs, count } = this.waits;
    return count > 0 ? infrastructureMs : performance.now() - this.activeAt;
  }

  /** Everything up to here has been handled for good. */
  get position(): number {
    return this.done;
  }

  claimed(lease: Lease): void {
    if (this.stopped) return;
    // Work under an earlier lease ends first: nothing else could stop it any more.
    this.abort.abort();
    const abort = (this.abort = new AbortController());
    // Each event that waits for its next try listens.
    setMaxListeners(0, abort.signal);
    this.running = this.running.then(() => this.work(lease, abort));
  }

  lost(): void {
    this.abort.abort();
  }

  /** Finishes what is in hand, writes the checkpoint and stops. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.abort.abort();
    await this.running;
  }

  /** Resolves once everything up to `position` has been handled by this process. */
  reached(position: number): Promise<void> {
    if (this.done >= position) return Promise.resolve();
    return new Promise((resolve) => this.waiters.add({ position, resolve }));
  }

  /** Types of the events that it handles. */
  protected abstract get types(): ReadonlySet<string>;

  /** What events are kept in order with, and parked with. May throw for an event that cannot be decoded. */
  protected abstract partitionOf(event: StoredEvent): string;

  /** The same; of an event that cannot be decoded, its aggregate. */
  protected partition(event: StoredEvent): string {
    try {
      return this.partitionOf(event);
    } catch {
      return event.aggregateId;
    }
  }

  /** Reads on until told to stop; throws only what makes this worker unfit to go on. */
  protected abstract run(lease: Lease, abort: AbortController): Promise<void>;

  /** Handles one letter anew, together with marking it as replayed. */
  protected abstract redeliver(lease: Lease, event: StoredEvent, letter: OpenLetter): Promise<void>;

  /** True for events of this worker's share of the partitions. */
  protected isMine(event: StoredEvent): boolean {
    return this.segments === 1 || this.hasPartition(this.partition(event));
  }

  protected tally(events: number): void {
    this.handled += events;
    this.activeAt = performance.now();
  }

  /** What concerns this subscription of the log behind `after`; nothing, after a pause, while it cannot be read. */
  protected async read(after: number, limit: number, signal: AbortSignal): Promise<LogPage> {
    try {
      const page = await this.deps.tail.read(this.types, after, limit);
      this.unreadable.over();
      return page;
    } catch (error) {
      this.unreadable.warn(error);
      await this.backOff(4, error, signal);
      return { events: [], last: after };
    }
  }

  protected advance(position: number): void {
    this.done = position;
    this.activeAt = performance.now();
    for (const waiter of this.waiters) {
      if (waiter.position > position) continue;
      this.waiters.delete(waiter);
      waiter.resolve();
    }
  }

  /**
   * Pauses before the next try. `retryAfterMs` of the error, such as an open circuit breaker's, takes precedence; but
   * a half-open one names the worst case, which outlasts the outage by far: so ask again sooner.
   */
  protected async backOff(attempt: number, error: unknown, signal: AbortSignal): Promise<void> {
    this.retried++;
    this.activeAt = performance.now();
    const { backoffMs, maxBackoffMs } = this.deps.retry;
    const ceiling = Math.min(backoffMs * 2 ** Math.min(attempt - 1, 20), maxBackoffMs);
    const ms = Math.min(retryAfterMs(error) ?? ceiling, maxBackoffMs) * (0.5 + Math.random() / 2);
    await delay(ms, undefined, { signal }).catch(() => undefined);
  }

  /** Replays in order what an operator asked for, until something fails again; a drained partition flows again. */
  protected async replay(lease: Lease, partition: string): Promise<void> {
    for (const letter of await this.letters.requested(partition)) {
      try {
        const [event] = await this.deps.store.readLog(letter.position - 1, 1);
        await this.redeliver(lease, event!, letter);
      } catch (error) {
        if (error instanceof Fenced) throw error;
        this.logger.warn(`Replay of event ${letter.position} failed again: ${messageOf(error)}`);
        const fault = faultOf(error);
        // The request stands, and is tried again at the next look.
        if (fault === 'infrastructure' || fault === 'patience') return;
        return this.letters.failedAgain(letter, error);
      }
    }
    await this.letters.release(partition);
  }

  /** Looks once a second for parked partitions that an operator had replayed or discarded. */
  protected async pollReplays(due: (partition: string) => void, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await delay(replayPollMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted || this.letters.parked.size === 0) continue;
      try {
        const waiting = await this.letters.waiting();
        if (signal.aborted) return;
        for (const partition of this.letters.parked) {
          if (!waiting.has(partition) && this.hasPartition(partition)) due(partition);
        }
      } catch (error) {
        this.logger.warn(`Cannot look for replays: ${messageOf(error)}`);
      }
    }
  }

  private hasPartition(partition: string): boolean {
    return this.segments === 1 || hash(partition) % this.segments === this.segment;
  }

  private async work(lease: Lease, abort: AbortController): Promise<void> {
    if (abort.signal.aborted) return;
    try {
      await this.letters.open();
      this.lease = lease;
      // also for those who wait already: there may be nothing to read
      this.advance(lease.position);
      await this.run(lease, abort);
    } catch (error) {
      if (error instanceof Fenced) {
        this.logger.log(error.message);
        // perhaps it was not replaced, but the log has changed
        this.deps.tail.poke();
      } else this.unfit.warn(error);
      this.deps.forget(lease);
    } finally {
      // also when it failed: nothing of it may act under the old lease
      abort.abort();
      this.waits.clear();
      this.lease = undefined;
    }
  }
}

/** The newest schema version of each type that this program can read. */
export function schemaVersions(types: Iterable<string>): Record<string, number> {
  return Object.fromEntries([...types].map((type) => [type, currentSchemaVersion(type)]));
}

/** FNV-1a: any hash does that spreads ids evenly and is the same in every process. */
function hash(text: string): number {
  let sum = 0x811c9dc5;
  for (let nth = 0; nth < text.length; nth++) sum = Math.imul(sum ^ text.charCodeAt(nth), 0x01000193);
  return sum >>> 0;
}
