import { setTimeout as delay } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import type { StoredEvent } from '../event-store/event';
import type { LogPosition } from '../event-store/event-store';
import { faultOf, messageOf } from '../fault';
import { within } from '../time-limit';
import { causesOf, SpanKind, traced } from '../tracing/tracing';
import type { OpenLetter } from './dead-letter-box';
import { Fenced, assertLease, moveCheckpoint } from './fencing';
import type { Lease } from './leases';
import type { Projection, ProjectionMetadata } from './projection';
import type { LogPage } from './log-tail';
import { Runner, type RunnerDependencies, type Share } from './runner';

/** Events of the log that are looked at, and applied, at once. */
const page = 2000;
/** A quiet log: other processes that wait for this view learn from the checkpoint that it has seen everything. */
const idleSaveMs = 50;
/** How long a view that nobody awaits gathers events between two batches, in ms: under load, few and large ones. */
const gatherMs = 100;

/** Feeds one projection from the log. */
export class ProjectionRunner extends Runner {
  readonly kind = 'projection';
  readonly version: number;
  /** Whether requests wait for it to show what they changed. */
  readonly awaited: boolean;
  protected readonly types: ReadonlySet<string>;
  /** The newest event that this worker has read up to. */
  private seen: LogPosition | undefined;
  /** Ends the wait for news. */
  protected wake: () => void = () => {};

  constructor(
    { name, version, awaited = true }: Pick<ProjectionMetadata, 'name' | 'version'> & { readonly awaited?: boolean },
    protected readonly projection: Projection,
    share: Share,
    deps: RunnerDependencies,
    /** Where the view is made. */
    protected readonly table: string = projection.table,
  ) {
    super(name, share, deps);
    this.version = version;
    this.awaited = awaited;
    this.types = new Set(projection.eventTypes);
  }

  protected async run(lease: Lease, abort: AbortController): Promise<void> {
    const { tail, retry } = this.deps;
    const { signal } = abort;
    const replays = new Set<string>();
    const polling = this.pollReplays((partition) => {
      replays.add(partition);
      this.wake();
    }, signal);
    let limit = page;
    let attempt = 0;
    let pauses = 0;
    /** A batch up to here failed as a whole: somewhere before it, or at it, is the guilty event. */
    let suspect = 0;
    let saved = lease.position;
    this.seen = undefined;
    /** The page behind the one in hand, read while that is applied. */
    let ahead: { after: number; limit: number; page: Promise<LogPage> } | undefined;
    const next = (after: number, limit: number) => {
      const page = ahead?.after === after && ahead.limit === limit ? ahead.page : this.read(after, limit, signal);
      ahead = undefined;
      return page;
    };
    while (!signal.aborted) {
      for (const partition of replays) {
        replays.delete(partition);
        await this.replay(lease, partition);
      }
      const { events, last, lastId } = await next(this.position, limit);
      if (lastId !== undefined) this.seen = { position: last, id: lastId };
      if (last === this.position) {
        if (await this.caughtUp(lease)) {
          abort.abort();
          return polling;
        }
        const news = [tail.wait(this.position, signal), new Promise<void>((resolve) => (this.wake = resolve))];
        if (saved === this.position) {
          await Promise.race(news);
        } else if (await Promise.race([...news, delay(idleSaveMs, 'quiet')])) {
          saved = await this.save(lease, saved);
        }
        continue;
      }
      const isNewest = last >= tail.head;
      if (!isNewest) ahead = { after: last, limit, page: this.read(last, limit, signal) };
      const relevant = events.filter((event) => this.isMine(event));
      // What does not concern this view is only remembered now and then: reading it again costs little.
      if (relevant.length === 0 && last - saved < page) {
        this.advance(last);
        if (last >= suspect) limit = Math.min(limit * 2, page);
        continue;
      }
      try {
        const describe = () => ({
          kind: SpanKind.CONSUMER,
          causes: causesOf(relevant),
          attributes: {
            'orderloom.subscription': this.name,
            'orderloom.attempt': attempt + 1,
            'orderloom.batch.events': relevant.length,
            'orderloom.event.position': last,
          },
        });
        await traced(`project ${this.name}`, describe, () => this.apply(lease, relevant, saved, last));
        saved = last;
        this.advance(last);
        this.tally(relevant.length);
        this.waits.end(relevant);
        pauses = 0;
        if (last >= suspect) limit = Math.min(limit * 2, page);
        attempt = last >= suspect || limit === 1 ? 0 : retry.attempts - 1;
        if (!this.awaited && isNewest) await delay(gatherMs, undefined, { signal }).catch(() => undefined);
      } catch (error) {
        if (error instanceof Fenced) throw error;
        if (this.isHeldAgainst(relevant, error)) {
          attempt++;
          this.logger.warn(`Events up to ${last} failed (try ${attempt}): ${messageOf(error)}`);
        }
        if (attempt < retry.attempts || relevant.length === 0) {
          await this.backOff(++pauses, error, signal);
        } else if (relevant.length > 1) {
          // Halve, without further pauses, until the guilty event stands alone; it gets the full number of tries again.
          suspect = last;
          limit = (last - this.position) >> 1;
          attempt = limit > 1 ? retry.attempts - 1 : 0;
        } else {
          await this.bury(lease, relevant[0]!, saved, { error, attempts: attempt });
          this.waits.end(relevant);
          saved = this.position;
          attempt = 0;
        }
      }
      // By now there is more in a busy log, at whose very end nobody ever stands.
      if (isNewest && this.position === last && (await this.caughtUp(lease))) {
        abort.abort();
        return polling;
      }
    }
    await this.save(lease, saved);
    await polling;
  }

  /** @returns false while the events only wait for something that is not ready */
  private isHeldAgainst(events: readonly StoredEvent[], error: unknown): boolean {
    const fault = faultOf(error);
    if (fault !== 'infrastructure' && fault !== 'patience') {
      this.waits.end(events);
      return true;
    }
    const waitedMs = this.waits.add(events, fault, error);
    return fault === 'patience' && waitedMs >= this.deps.retry.patienceMs;
  }

  protected partitionOf(event: StoredEvent): string {
    return this.projection.partitionOf?.(event) ?? event.aggregateId;
  }

  /** Everything known has been applied. @returns true to end the work here */
  protected caughtUp(_lease: Lease): Promise<boolean> {
    return Promise.resolve(false);
  }

  protected async redeliver(lease: Lease, event: StoredEvent, letter: OpenLetter): Promise<void> {
    await this.deps.database.relaxedTransaction(async (client) => {
      await assertLease(client, lease);
      await this.project(client, [event]);
      await this.letters.replayed(client, letter);
    });
  }

  /** @returns the position that is stored now */
  private async save(lease: Lease, saved: number): Promise<number> {
    const { position } = this;
    try {
      await this.deps.database.relaxedTransaction((client) =>
        moveCheckpoint(client, lease, position, { from: saved, seen: this.seen }),
      );
      return position;
    } catch (error) {
      if (error instanceof Fenced) throw error;
      return saved;
    }
  }

  private async apply(lease: Lease, relevant: readonly StoredEvent[], saved: number, last: number): Promise<void> {
    const parked = (event: StoredEvent) => this.letters.parked.has(this.partition(event));
    const flowing = relevant.filter((event) => !parked(event));
    await this.deps.database.relaxedTransaction(async (client) => {
      await moveCheckpoint(client, lease, last, { from: saved, seen: this.seen });
      for (const event of relevant) if (parked(event)) await this.letters.put(client, event, this.partition(event));
      if (flowing.length > 0) await this.project(client, flowing);
    });
  }

  private project(client: PoolClient, events: readonly StoredEvent[]): Promise<void> {
    const what = `${this.name} with the events up to ${events.at(-1)!.position}`;
    return within(this.deps.retry.deliveryMs, what, () => this.projection.project(events, client, this.table));
  }

  private async bury(
    lease: Lease,
    event: StoredEvent,
    saved: number,
    failure: { error: unknown; attempts: number },
  ): Promise<void> {
    const partition = this.partition(event);
    await this.deps.database.relaxedTransaction(async (client) => {
      await moveCheckpoint(client, lease, event.position, { from: saved, seen: this.seen });
      await this.letters.put(client, event, partition, failure);
    });
    this.letters.parked.add(partition);
    this.logger.error(`Event ${event.position} (${event.eventType}) is a dead letter; ${partition} is parked`);
    this.advance(event.position);
  }
}
