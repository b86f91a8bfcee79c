import { Injectable } from '@nestjs/common';
import { Database } from '../database/database';
import type { StoredEvent } from '../event-store/event';
import { domainEvent } from '../event-store/event';
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
  readonly status: SagaStatus;
  readonly step: string | null;
  readonly attempt: number | null;
  readonly error: SagaFailure | null;
  readonly dueAt: Date | null;
  readonly startedAt: Date;
  readonly updatedAt: Date;
}

const columns = `id, definition, definition_version as "definitionVersion", subject, status, step, attempt, error,
  due_at as "dueAt", started_at as "startedAt",
  updated_at as "updatedAt"`;

/** Reads what the projection above wrote. */
@Injectable()
export class SagaInstances {
  constructor(private readonly database: Database) {}

  async find(id: string): Promise<SagaInstance | undefined> {
    const { rows } = await this.database.pool.query<SagaInstance>(
      `select ${columns} from sagas.instances where id = $1`,
      [id],
    );
    return rows[0];
  }

  /** Newest first; `after` is the id of the last one seen. */
  async list(filter: { status?: SagaStatus; after?: string; limit: number }): Promise<SagaInstance[]> {
    const { rows } = await this.database.pool.query<SagaInstance>(
      `select ${columns} from sagas.instances
       where ($1::text is null or status = $1)
         and ($2::uuid is null or (started_at, id) < (select i.started_at, i.id from sagas.instances i where i.id = $2))
       order by sagas.instances.started_at desc, id desc limit $3`,
      [filter.status ?? null, filter.after ?? null, filter.limit],
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

  /** Sagas whose timer has run out, with the version at which it was set. */
  async due(limit: number): Promise<{ id: string; version: number }[]> {
    const { rows } = await this.database.pool.query<{ id: string; version: number }>({
      name: 'sagas.due',
      text: 'select id, version from sagas.instances where due_at <= clock_timestamp() order by due_at limit $1',
      values: [limit],
    });
    return rows;
  }
}
