import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { DataSource } from 'typeorm';
import { type CommandName, currentContext } from '../context';
import { Database } from '../database/database';
import { isContention } from '../database/errors';
import { newId } from '../ids';
import { currentTraceparent, idsIn, type Span, traced } from '../tracing/tracing';
import type { Announcement, AppendOptions } from './announcement';
import { AggregateTypeError, ContentionError, LostCauseError, VersionMismatch } from './errors';
import { type Aggregate, type DomainEvent, type EventMetadata, type StoredEvent, wireForm } from './event';
import {
  type Append,
  type AppendOutcome,
  type AppendStats,
  appendAll,
  type BatchListener,
  GroupCommit,
  type Queryable,
} from './group-commit';
import { assertSameRequest, earlierRun, formerRun, type Wanted } from './repeats';
import { type Snapshot, Snapshots } from './snapshots';
import { currentSchemaVersion, isCurrent, toCurrent } from './upcasting';

export interface AppendResult {
  /** Of the command's last event; for a conflict, the version that the aggregate is at. */
  readonly version: number;
  readonly position: number;
  readonly status: AppendOutcome['status'];
}

/**
 * How often, and for how long in ms, a transaction is repeated that Postgres rolled back because of others. A deadlock is
 * found after one second, so it is repeated; a transaction that waited for all of `lock_timeout` has waited long enough.
 */
const retry = { tries: 5, withinMs: 5000, pauseMs: 20 };

type Work<R> = (manager: EntityManager) => Promise<{ result: R; announce: Announcement[] }>;

export type CommittedListener = (events: readonly StoredEvent[]) => void;

/** A place in the log, and which event stands there. */
export interface LogPosition {
  readonly position: number;
  readonly id: string;
}

interface EventRow {
  position: string | number;
  event_id: string;
  aggregate_id: string;
  aggregate_type: string;
  version: number;
  event_type: string;
  schema_version: number;
  payload: Record<string, unknown>;
  metadata: EventMetadata;
  recorded_at: Date;
}

const columns = [
  'position',
  'event_id',
  'aggregate_id',
  'aggregate_type',
  'version',
  'event_type',
  'schema_version',
  'payload',
  'metadata',
  'recorded_at',
] as const satisfies readonly (keyof EventRow)[];

/** Many events as JSON has them: an array a column, null for none. */
type EventColumns = { [Column in keyof EventRow]: EventRow[Column][] } & {
  position: number[] | null;
  recorded_at: string[];
};

/** The log: append to it, read an aggregate's events, read on from a position. */
@Injectable()
export class EventStore {
  private readonly groupCommit: GroupCommit;
  readonly snapshots: Snapshots;
  private listener: CommittedListener = () => undefined;

  constructor(
    private readonly database: Database,
    private readonly dataSource: DataSource,
  ) {
    this.groupCommit = new GroupCommit(database.appends);
    // Requests may be refused before they append, and the log would seem to be well.
    database.onDiskFull = () => this.groupCommit.failed();
    this.snapshots = new Snapshots(database);
  }

  /**
   * Adds one command's events to its aggregate: all of them or, on `conflict`, none.
   *
   * @throws EventDataError for a payload that JSON cannot carry
   * @throws OverloadError when too many appends wait
   * @throws AggregateTypeError when the id belongs to an aggregate of another type
   * @throws DuplicateCommandError when the command's id belongs to another command
   */
  async append(
    aggregate: Aggregate,
    events: readonly DomainEvent[],
    options: AppendOptions = {},
  ): Promise<AppendResult> {
    const announcement = { aggregate, events, ...options };
    return tracedAppend(announcement, async (span) => {
      const outcome = await this.appendNow(announcement);
      describeOutcome(span, outcome);
      return outcome;
    });
  }

  private async appendNow(announcement: Announcement): Promise<AppendResult> {
    const { aggregate } = announcement;
    const [append, wanted] = prepare(announcement);
    const outcome = (await formerOutcome(this.database.pool, wanted)) ?? (await this.groupCommit.append(append));
    if (outcome.status === 'orphan') throw lostCause(append);
    if (outcome.status === 'conflict') await assertType(this.database.pool, aggregate);
    if (outcome.status === 'duplicate') await earlierRun(this.database.pool, wanted);
    this.committed(append, outcome);
    return outcome;
  }

  /**
   * Runs `work` in one transaction and appends what it announces as the last thing in it: rows and events are
   * committed together or not at all. The lock of the log is thus held for the COMMIT and nothing else.
   *
   * When Postgres rolls the transaction back because of others (a deadlock), `work` runs again. So it must have no effect
   * outside of `manager`. Ids that it takes from the current context are the same in each run.
   *
   * @throws VersionMismatch when an announced `expectedVersion` no longer holds
   * @throws AggregateTypeError when an announced id belongs to an aggregate of another type
   * @throws DuplicateCommandError when the id of an announced command belongs to another command
   * @throws ContentionError when others kept getting in the way
   */
  async transaction<R>(work: Work<R>): Promise<R> {
    const repeat = currentContext().repeatable();
    const giveUpAt = performance.now() + retry.withinMs;
    for (let tries = 1; ; tries++) {
      try {
        const { result, committed } = await repeat(() => this.transact(work));
        currentContext().commits();
        for (const [append, outcome] of committed) this.committed(append, outcome);
        return result;
      } catch (error) {
        if (!isContention(error)) throw error;
        if (tries >= retry.tries || performance.now() > giveUpAt) {
          const message = 'Other transactions held what this one needs. Nothing was changed. Try again shortly.';
          throw new ContentionError(message, { cause: error });
        }
        await delay(Math.random() * retry.pauseMs * 2 ** tries);
      }
    }
  }

  private async transact<R>(work: Work<R>): Promise<{ result: R; committed: [Append, AppendOutcome][] }> {
    const committed: [Append, AppendOutcome][] = [];
    const result = await this.dataSource.transaction('READ COMMITTED', async (manager) => {
      const { result, announce } = await work(manager);
      // one call a command: a transaction may announce several for one aggregate
      for (const announcement of announce) {
        const db = queryable(manager);
        const { append, wanted, outcome } = await tracedAppend(announcement, async (span) => {
          const [append, wanted] = prepare(announcement);
          const outcome = (await formerOutcome(db, wanted)) ?? (await appendAll(db, [append]))[0]!;
          describeOutcome(span, outcome);
          return { append, wanted, outcome };
        });
        this.groupCommit.outcomes[outcome.status]++;
        if (outcome.status === 'orphan') throw lostCause(append);
        if (outcome.status === 'duplicate') await earlierRun(db, wanted);
        if (outcome.status === 'conflict') {
          await assertType(db, announcement.aggregate);
          if (typeof announcement.expectedVersion === 'number') {
            throw new VersionMismatch(announcement.expectedVersion, outcome.version);
          }
          throw new ContentionError(`${announcement.aggregate.type} ${announcement.aggregate.id} exists already`);
        }
        committed.push([append, outcome]);
      }
      return result;
    });
    return { result, committed };
  }

  /** An aggregate's events in order, from `fromVersion` on; all of them, or the first `limit`. */
  async getEvents(aggregateId: string, fromVersion = 1, limit?: number): Promise<StoredEvent[]> {
    const { rows } = await this.database.pool.query<EventRow>({
      name: 'event_store.stream',
      text: `select * from event_store.events where aggregate_id = $1 and version >= $2::bigint
             order by version limit $3`,
      values: [aggregateId, fromVersion, limit ?? null],
    });
    return rows.map(storedEvent);
  }

  /**
   * An aggregate's snapshot of that state version, if there is one, and the events behind it.
   *
   * @throws AggregateTypeError when the id belongs to an aggregate of another type
   */
  async load({ type, id }: Aggregate, stateVersion: number): Promise<{ snapshot?: Snapshot; events: StoredEvent[] }> {
    const { rows } = await this.database.pool.query<EventRow & { snapshot_version: number | null; state: unknown }>({
      name: 'event_store.load',
      text: `with s as (
          select version, state from event_store.snapshots
          where aggregate_id = $1 and aggregate_type = $2 and state_version = $3)
        select e.*, null::integer as snapshot_version, null::jsonb as state from event_store.events e
        where e.aggregate_id = $1 and e.version > coalesce((select version from s), 0)
        union all
        select (null::event_store.events).*, s.version, s.state from s
        order by version nulls first`,
      values: [id, type, stateVersion],
    });
    const [first] = rows;
    // of a snapshot only the state is there, and it has been looked up by its type
    const actual = first?.aggregate_type ?? type;
    if (actual !== type) throw new AggregateTypeError(id, actual, type);
    if (first?.snapshot_version == null) return { events: rows.map(storedEvent) };
    return {
      snapshot: { version: first.snapshot_version, state: first.state },
      events: rows.slice(1).map(storedEvent),
    };
  }

  /** Events at these places of the log, in order. */
  async at(positions: readonly number[]): Promise<StoredEvent[]> {
    const { rows } = await this.database.pool.query<EventRow>(
      'select * from event_store.events where position = any($1::bigint[]) order by position',
      [positions],
    );
    return rows.map(storedEvent);
  }

  /**
   * The log from behind `position` on.
   *
   * @param watching on a connection that nothing else uses: whoever watches the log must not wait behind those who read it
   */
  async readLog(position: number, limit: number, watching = false): Promise<StoredEvent[]> {
    const { rows } = await (watching ? this.database.watch : this.database.pool).query<EventRow>({
      name: 'event_store.log',
      text: 'select * from event_store.events where position > $1 order by position limit $2',
      values: [position, limit],
    });
    return rows.map(storedEvent);
  }

  /**
   * Events of these types behind `position`, up to and with `until`. Positions have no gaps, so a page can be named by its
   * two ends, and what does not concern the reader need not leave the server. For pages of thousands: column by column,
   * which takes half of what it takes to parse rows.
   *
   * @returns with the id of the event at `until`; undefined when the log does not reach so far
   */
  async readTypes(
    types: readonly string[],
    position: number,
    until: number,
  ): Promise<{ events: StoredEvent[]; lastId: string | undefined }> {
    const { rows } = await this.database.pool.query<EventColumns & { last_id: string | null }>({
      name: 'event_store.types',
      text: `select ${columns.map((column) => `json_agg(${column} order by position) as ${column}`).join(', ')},
               (select event_id from event_store.events where position = $2) as last_id
             from event_store.events where position > $1 and position <= $2 and event_type = any($3)`,
      values: [position, until, types],
    });
    const page = rows[0]!;
    // aggregates over nothing are null
    const events = (page.position ?? []).map((position, nth) =>
      storedEvent({
        position,
        event_id: page.event_id[nth]!,
        aggregate_id: page.aggregate_id[nth]!,
        aggregate_type: page.aggregate_type[nth]!,
        version: page.version[nth]!,
        event_type: page.event_type[nth]!,
        schema_version: page.schema_version[nth]!,
        payload: page.payload[nth]!,
        metadata: page.metadata[nth]!,
        recorded_at: new Date(page.recorded_at[nth]!),
      }),
    );
    return { events, lastId: page.last_id ?? undefined };
  }

  /** The log from behind `position` on, of one type or one aggregate; for people, who may wait a little. */
  async search(
    filter: { type?: string; aggregateId?: string; correlationId?: string },
    position: number,
    limit: number,
  ): Promise<StoredEvent[]> {
    const { rows } = await this.database.pool.query<EventRow>(
      `select * from event_store.events
       where position > $1 and ($2::text is null or event_type = $2) and ($3::uuid is null or aggregate_id = $3)
         and ($5::text is null or metadata ->> 'correlationId' = $5)
       order by position limit $4`,
      [position, filter.type ?? null, filter.aggregateId ?? null, limit, filter.correlationId ?? null],
    );
    return rows.map(storedEvent);
  }

  /** The newest event's position and id; undefined for an empty log. */
  async newest(): Promise<LogPosition | undefined> {
    const { rows } = await this.database.pool.query<{ position: string; event_id: string }>({
      name: 'event_store.newest',
      text: 'select position, event_id from event_store.events order by position desc limit 1',
    });
    return rows[0] && { position: Number(rows[0].position), id: rows[0].event_id };
  }

  /** Ids of the events at the positions from `from` to `to`, in order. */
  async idsBetween(from: number, to: number): Promise<LogPosition[]> {
    const { rows } = await this.database.pool.query<{ position: string; event_id: string }>(
      'select position, event_id from event_store.events where position between $1 and $2 order by position',
      [from, to],
    );
    return rows.map(({ position, event_id }) => ({ position: Number(position), id: event_id }));
  }

  /** Position of the newest event; 0 for an empty log. */
  async head(): Promise<number> {
    const { rows } = await this.database.pool.query<{ head: string }>({
      name: 'event_store.head',
      text: 'select coalesce(max(position), 0) as head from event_store.events',
    });
    return Number(rows[0]!.head);
  }

  /**
   * What this command appended in an earlier run, if there was one.
   *
   * @throws DuplicateCommandError when its id belongs to another command
   */
  async resultOf(
    command: string | CommandName,
    aggregateId?: string,
  ): Promise<{ version: number; position: number } | undefined> {
    const wanted = { command: typeof command === 'string' ? { id: command } : command, aggregateId };
    const done = await earlierRun(this.database.pool, wanted);
    if (!done) return undefined;
    currentContext().commits();
    return { version: done.version, position: done.position };
  }

  /**
   * For a request that finds what it was about to do in the log, as this event: that an equal request did it, rather than
   * one that used the same key for something else.
   *
   * @throws DuplicateCommandError
   */
  assertSameRequest({ metadata }: StoredEvent): void {
    currentContext().commits();
    assertSameRequest(metadata.commandId, metadata.request);
  }

  /** Tells the listener what this process has committed, in the order in which the answers arrived. */
  onCommitted(listener: CommittedListener): void {
    this.listener = listener;
  }

  get appendStats(): AppendStats {
    return this.groupCommit;
  }

  onBatch(listener: BatchListener): void {
    this.groupCommit.onBatch = listener;
  }

  private committed(append: Append, outcome: AppendOutcome): void {
    if (outcome.status === 'conflict') return;
    currentContext().saw(outcome.position);
    currentContext().commits();
    if (outcome.status === 'duplicate') return;
    const count = append.events.length;
    this.listener(
      append.events.map((event, nth) => ({
        id: event.id,
        aggregateId: append.aggregate.id,
        aggregateType: append.aggregate.type,
        eventType: event.type,
        payload: JSON.parse(event.payload) as Record<string, unknown>,
        timestamp: outcome.recordedAt,
        version: outcome.version - count + nth + 1,
        position: outcome.position - count + nth + 1,
        schemaVersion: event.schemaVersion,
        metadata: JSON.parse(event.metadata) as EventMetadata,
      })),
    );
  }
}

function tracedAppend<T>(announcement: Announcement, work: (span?: Span) => Promise<T>): Promise<T> {
  const { aggregate, events } = announcement;
  const describe = () => ({
    attributes: {
      'orderloom.aggregate.type': aggregate.type,
      'orderloom.aggregate.id': aggregate.id,
      'orderloom.event.types': events.map(({ type }) => type),
      ...idsIn(events[0] ?? {}),
    },
  });
  return traced(`append ${aggregate.type}`, describe, work);
}

function describeOutcome(span: Span | undefined, { status, version, position }: AppendResult): void {
  span?.setAttributes({
    'orderloom.append.outcome': status,
    'orderloom.aggregate.version': version,
    'orderloom.event.position': position,
  });
}

function prepare({ aggregate, events, expectedVersion = 'any', commandId }: Announcement): [Append, Wanted] {
  if (events.length === 0) throw new Error(`Nothing to append to ${aggregate.type} ${aggregate.id}`);
  const context = currentContext();
  const eventTypes = events.map(({ type }) => type);
  const command = commandId === undefined ? context.nextCommand(aggregate.id, eventTypes.join()) : named(commandId);
  const metadata = JSON.stringify({
    correlationId: context.correlationId,
    causationId: context.causationId,
    actor: context.actor,
    commandId: command.id,
    // otherwise the types of its events say it
    command: commandId === undefined ? undefined : command.what,
    request: context.request,
    traceparent: currentTraceparent(),
  } satisfies EventMetadata);
  const append: Append = {
    aggregate,
    expected: expectedVersion,
    events: events.map(({ type, ...payload }, nth) => ({
      id: nth === 0 ? command.id : newId(),
      type,
      schemaVersion: currentSchemaVersion(type),
      payload: wireForm(payload),
      metadata,
    })),
  };
  return [append, { command, aggregateId: aggregate.id, eventTypes }];
}

function named(commandId: string | CommandName): CommandName {
  return typeof commandId === 'string' ? { id: commandId } : commandId;
}

/** What the release before did of it; looked for only where work may be repeated, since it takes a query. */
async function formerOutcome(db: Queryable, wanted: Wanted): Promise<AppendOutcome | undefined> {
  if (!currentContext().mayHaveRun) return undefined;
  const former = await formerRun(db, wanted);
  return former && { status: 'duplicate', version: former.version, position: former.position, recordedAt: new Date() };
}

function lostCause({ aggregate }: Append): LostCauseError {
  const cause = currentContext().causationId ?? 'unknown';
  return new LostCauseError(
    `${aggregate.type} ${aggregate.id}: the log has not got the event ${cause} that this follows from`,
  );
}

/** Of a conflict, says whether it is one that no retry can resolve. @throws AggregateTypeError */
async function assertType(db: Queryable, { id, type }: Aggregate): Promise<void> {
  const { rows } = await db.query({
    name: 'event_store.type',
    text: 'select aggregate_type from event_store.events where aggregate_id = $1 and version = 1',
    values: [id],
  });
  const actual = (rows as Pick<EventRow, 'aggregate_type'>[])[0]?.aggregate_type ?? type;
  if (actual !== type) throw new AggregateTypeError(id, actual, type);
}

/** TypeORM's raw query as pg's: rows only, and no named statements. */
function queryable(manager: EntityManager): Queryable {
  return { query: async ({ text, values }) => ({ rows: await manager.query<unknown[]>(text, values) }) };
}

function storedEvent(row: EventRow): StoredEvent {
  const event = {
    id: row.event_id,
    aggregateId: row.aggregate_id,
    aggregateType: row.aggregate_type,
    eventType: row.event_type,
    payload: row.payload,
    timestamp: row.recorded_at,
    version: row.version,
    position: Number(row.position),
    schemaVersion: row.schema_version,
    metadata: row.metadata,
  };
  return isCurrent(row.event_type, row.schema_version) ? event : decodedWhenRead(event);
}

/** What cannot be decoded fails whoever wants its payload, and nobody else who reads the same page of the log. */
function decodedWhenRead(event: StoredEvent): StoredEvent {
  const { eventType, schemaVersion, payload } = event;
  let current: StoredEvent['payload'] | undefined;
  return Object.defineProperty(event, 'payload', {
    enumerable: true,
    get: () => (current ??= toCurrent(eventType, schemaVersion, payload)),
  });
}
