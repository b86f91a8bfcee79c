import { Injectable } from '@nestjs/common';
import { Database } from '../database/database';
import type { StoredEvent } from '../event-store/event';
import { domainEvent } from '../event-store/event';
import { EventStore } from '../event-store/event-store';
import { type Listed, ListOrder, type SortValues } from '../http/list-order';
import { FoldedView, ProjectionOf } from '../subscriptions/projection';
import { type SagaFailure } from './saga';
import { type SagaEvent, sagaEventTypes } from './saga-stream';

export const sagaStatuses = ['running', 'compensating', 'parked', 'completed', 'compensated'] as const;
export type SagaStatus = (typeof sagaStatuses)[number];
export type OpenSagaStatus = Exclude<SagaStatus, 'completed' | 'compensated'>;

/** Row of `sagas.instances`. */
interface InstanceRow {
  id: string;
  definition: string;
  definition_version: number;
  subject: string;
  status: SagaStatus;
  version: number;
  step: string | null;
  attempt: number | null;
  error: SagaFailure | null;
  /** When its next try or its deadline comes, by the database's clock; the sagas' timers. */
  due_at: string | null;
  started_at: string;
  updated_at: string;
}

/** The state of each saga as its timers need it, and whoever is on call. */
@ProjectionOf('sagas.instances', { version: 2 })
export class SagaInstancesProjection extends FoldedView<InstanceRow> {
  readonly eventTypes = sagaEventTypes;

  constructor() {
    super({ table: 'sagas.instances', key: 'id' });
  }

  protected keyOf(event: StoredEvent): string {
    return event.aggregateId;
  }

  protected evolve(before: InstanceRow | undefined, stored: StoredEvent): InstanceRow | undefined {
    const event = domainEvent<SagaEvent>(stored);
    const at = stored.timestamp.toISOString();
    if (event.type === 'saga.started') {
      const { saga: definition, definitionVersion: definition_version, subject } = event;
      const open = { step: null, attempt: null, error: null, due_at: null };
      const row = { id: stored.aggregateId, definition, definition_version, subject, ...open };
      return { ...row, status: 'running', version: stored.version, started_at: at, updated_at: at };
    }
    if (!before) return undefined;
    const row = { ...before, version: stored.version, updated_at: at };
    const after = (ms: number | undefined) =>
      ms === undefined ? null : new Date(stored.timestamp.getTime() + ms).toISOString();
    switch (event.type) {
      case 'saga.step-started':
        return { ...row, status: 'running', step: event.step, attempt: event.attempt, due_at: after(event.timeoutMs) };
      case 'saga.step-failed':
        return { ...row, error: event.error, due_at: after(event.retryInMs) };
      case 'saga.cancel-requested':
        return { ...row, status: 'compensating', error: event.error, due_at: null };
      case 'saga.compensation-started':
        return { ...row, status: 'compensating', step: event.step, attempt: event.attempt, due_at: null };
      case 'saga.compensation-failed':
        return { ...row, error: event.error, due_at: after(event.retryInMs) };
      case 'saga.parked':
        return { ...row, status: 'parked', error: event.error, due_at: null };
      case 'saga.completed':
        return { ...row, status: 'completed', step: null, attempt: null, error: null, due_at: null };
      case 'saga.compensated':
        return { ...row, status: 'compensated', step: event.step, attempt: null, error: event.error, due_at: null };
      case 'saga.step-completed':
      case 'saga.compensation-completed':
      case 'saga.resolved':
        return { ...row, due_at: null };
    }
  }
}

export interface SagaInstance {
  readonly id: string;
  readonly definition: string;
  readonly definitionVersion: number;
  readonly subject: string;
  /** Of the request that it goes back to. */
  readonly correlationId: string;
  readonly status: SagaStatus;
  readonly step: string | null;
  readonly attempt: number | null;
  readonly error: SagaFailure | null;
  readonly dueAt: Date | null;
  readonly startedAt: Date;
  readonly updatedAt: Date;
}

/** Names a definition. */
export interface SagaVersion {
  readonly name: string;
  readonly version: number;
}

/** How many sagas of a definition have not ended. */
export interface OpenSagas {
  readonly definition: string;
  readonly version: number;
  readonly count: number;
}

/** A saga whose timer has run out. */
export interface DueSaga {
  readonly id: string;
  /** Of the event that set the timer. */
  readonly version: number;
  /** For how long it has been due, and how long ago the timer was set, by the database's clock. */
  readonly lateMs: number;
  readonly setMs: number;
  /** Of the same event. */
  readonly correlationId: string;
  readonly traceparent: string | null;
}

const correlation = `(select metadata ->> 'correlationId' from event_store.events
  where aggregate_id = instances.id and events.version = 1)`;

const columns = `id, definition, definition_version as "definitionVersion", subject, ${correlation} as "correlationId", status, step, attempt, error,
  due_at as "dueAt", started_at as "startedAt",
  updated_at as "updatedAt"`;

/** Newest first. */
export const sagaOrder = new ListOrder(
  'sagas',
  [
    ['instances.started_at', 'instant'],
    ['instances.id', 'uuid'],
  ],
  'desc',
);

export interface SagaFilter {
  readonly status?: readonly SagaStatus[];
  readonly subject?: string;
  readonly correlationId?: string;
  /** false: only those that have not ended and are of none of the `known` definitions; true: the others. */
  readonly runnable?: { readonly is: boolean; readonly known: readonly SagaVersion[] };
  /** Sort values of the last one seen. */
  readonly after?: SortValues | null;
  readonly limit: number;
}

/** Reads what the projection above wrote. */
@Injectable()
export class SagaInstances {
  constructor(
    private readonly database: Database,
    private readonly events: EventStore,
    private readonly projection: SagaInstancesProjection,
  ) {}

  /** `atLeast`: a version that the caller knows of. Where the view is behind it, the log answers. */
  async find(id: string, atLeast = 0): Promise<SagaInstance | undefined> {
    const { rows } = await this.database.pool.query<SagaInstance & { version: number }>(
      `select ${columns}, version from sagas.instances where id = $1`,
      [id],
    );
    if ((rows[0]?.version ?? 0) < atLeast) return this.committed(id);
    if (!rows[0]) return undefined;
    const { version: _, ...found } = rows[0];
    return found;
  }

  private async committed(id: string): Promise<SagaInstance | undefined> {
    const events = await this.events.getEvents(id);
    return instance(this.projection.fold(events), events[0]?.metadata.correlationId);
  }

  /** Newest first. */
  async list({ status, subject, correlationId, runnable, after, limit }: SagaFilter): Promise<Listed<SagaInstance>[]> {
    const { rows } = await this.database.pool.query<Listed<SagaInstance>>(
      `select ${columns}, ${sagaOrder.cursor} from sagas.instances
       where ($1::text[] is null or status = any($1))
         and ${sagaOrder.beyond('$2')}
         and ($7::uuid is null or subject = $7) and ($8::text is null or ${correlation} = $8)
         and ($4::boolean is null or $4 = (status in ('completed', 'compensated') or
               (definition, definition_version) in (select * from unnest($5::text[], $6::integer[]))))
       order by ${sagaOrder.by} limit $3`,
      [
        status ?? null,
        after ?? null,
        limit,
        runnable?.is ?? null,
        ...namesAndVersions(runnable?.known ?? []),
        subject ?? null,
        correlationId ?? null,
      ],
    );
    return rows;
  }

  /** How many have not come to their end; a parked one has, as far as it can without a person. */
  async unfinished(): Promise<number> {
    const { rows } = await this.database.pool.query<{ count: number }>(
      `select count(*)::int as count from sagas.instances where status in ('running', 'compensating')`,
    );
    return rows[0]!.count;
  }

  /** How many are under way or wait for a person. Those that ended are not counted: they only ever become more. */
  async open(): Promise<Record<OpenSagaStatus, number>> {
    const { rows } = await this.database.pool.query<{ status: OpenSagaStatus; count: number }>({
      name: 'sagas.open',
      text: `select status, count(*)::int as count from sagas.instances
             where status in ('running', 'compensating', 'parked') group by status`,
    });
    const counts = { running: 0, compensating: 0, parked: 0 };
    for (const { status, count } of rows) counts[status] = count;
    return counts;
  }

  /** How many are under way or parked, by definition. */
  async openByDefinition(): Promise<OpenSagas[]> {
    const { rows } = await this.database.pool.query<OpenSagas>({
      name: 'sagas.definitions',
      text: `select definition, definition_version as version, count(*)::int as count from sagas.instances
             where status in ('running', 'compensating', 'parked') group by definition, definition_version`,
    });
    return rows;
  }

  /**
   * Sagas of these definitions whose timer has run out, the oldest first. A step that was begun has no deadline before
   * `sagas.run` has sent its command: time during which that was not possible, such as an outage, does not count.
   *
   * @param except ids of sagas to leave out
   */
  async due(known: readonly SagaVersion[], except: readonly string[], limit: number): Promise<DueSaga[]> {
    const { rows } = await this.database.pool.query<DueSaga>({
      name: 'sagas.due',
      text: `select i.id, i.version,
               (extract(epoch from clock_timestamp() - i.due_at) * 1000)::float8 as "lateMs",
               (extract(epoch from clock_timestamp() - e.recorded_at) * 1000)::float8 as "setMs",
               e.metadata ->> 'correlationId' as "correlationId", e.metadata ->> 'traceparent' as traceparent
             from sagas.instances i
             join event_store.events e on e.aggregate_id = i.id and e.version = i.version
             where i.due_at <= clock_timestamp()
               and (i.definition, i.definition_version) in (select * from unnest($1::text[], $2::integer[]))
               and i.id <> all($3::uuid[])
               and not exists (select from event_store.events newer
                               where newer.aggregate_id = i.id and newer.version = i.version + 1)
               and (e.event_type <> 'saga.step-started'
                 or e.position <= (select min(c.position) from subscriptions.checkpoints c where c.name = 'sagas.run'))
             order by i.due_at limit $4`,
      values: [...namesAndVersions(known), except, limit],
    });
    return rows;
  }
}

function namesAndVersions(known: readonly SagaVersion[]): [string[], number[]] {
  return [known.map(({ name }) => name), known.map(({ version }) => version)];
}

function instance(row: InstanceRow | undefined, correlationId = ''): SagaInstance | undefined {
  if (!row) return undefined;
  const { definition_version: definitionVersion, due_at, started_at, updated_at, version: _, ...rest } = row;
  const dueAt = due_at === null ? null : new Date(due_at);
  return {
    ...rest,
    correlationId,
    definitionVersion,
    dueAt,
    startedAt: new Date(started_at),
    updatedAt: new Date(updated_at),
  };
}
