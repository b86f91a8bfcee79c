import type { PoolClient } from 'pg';
import type { Database } from '../database/database';
import type { StoredEvent } from '../event-store/event';
import { describeThrown } from '../storable';

export interface OpenLetter {
  readonly position: number;
  readonly partition: string;
}

/**
 * What one subscription could not digest. An event that failed for good is kept as `failed`; later events of its
 * partition are `parked` behind it, so that order is kept when an operator has them replayed.
 */
export class DeadLetterBox {
  /** Partitions with something open: their events go here instead of to the handler. */
  readonly parked = new Set<string>();

  constructor(
    private readonly database: Database,
    private readonly subscription: string,
  ) {}

  async open(): Promise<void> {
    const { rows } = await this.database.pool.query<{ partition: string }>(
      `select distinct partition from subscriptions.dead_letters where subscription = $1 and state in ('failed', 'parked')`,
      [this.subscription],
    );
    this.parked.clear();
    for (const { partition } of rows) this.parked.add(partition);
  }

  /**
   * Adds a letter in the caller's transaction; the caller marks the partition once that has committed. One that is told
   * again, since the checkpoint stood before it, is not doubled; replayed once and failing now, it is open again.
   */
  async put(client: PoolClient, event: StoredEvent, partition: string, failure?: { error: unknown; attempts: number }) {
    await client.query(
      `insert into subscriptions.dead_letters
         (subscription, position, event_id, event_type, partition, state, error, attempts)
       values ($1, $2, $3, $4, $5, $6, $7, $8)
       on conflict (subscription, position) do update set
         state = excluded.state, error = excluded.error, attempts = excluded.attempts, since = excluded.since,
         replay_requested_by = null, resolved_by = null, resolved_at = null
       where dead_letters.state = 'replayed' and excluded.state = 'failed'`,
      [
        this.subscription,
        event.position,
        event.id,
        event.eventType,
        partition,
        failure ? 'failed' : 'parked',
        failure ? describeThrown(failure.error) : null,
        failure?.attempts ?? 0,
      ],
    );
  }

  /** Partitions in which nothing is to be done: one failed, and waits for an operator's word. */
  async waiting(): Promise<Set<string>> {
    const { rows } = await this.database.pool.query<{ partition: string }>(
      `select partition from subscriptions.dead_letters where subscription = $1 and state in ('failed', 'parked')
       group by partition having bool_or(state = 'failed') and bool_and(replay_requested_by is null)`,
      [this.subscription],
    );
    return new Set(rows.map((row) => row.partition));
  }

  /** The letters of a partition whose replay an operator asked for, or that nothing keeps any more, in order. */
  async requested(partition: string): Promise<OpenLetter[]> {
    const { rows } = await this.database.pool.query<{ position: string; asked: boolean }>(
      `select position, (bool_or(replay_requested_by is not null) over () or not bool_or(state = 'failed') over ()) as asked
       from subscriptions.dead_letters
       where subscription = $1 and partition = $2 and state in ('failed', 'parked') order by position`,
      [this.subscription, partition],
    );
    return rows.filter((row) => row.asked).map((row) => ({ position: Number(row.position), partition }));
  }

  async replayed(client: PoolClient, letter: OpenLetter): Promise<void> {
    await client.query(
      `update subscriptions.dead_letters d set state = 'replayed', resolved_at = clock_timestamp(), resolved_by = (
         select max(r.replay_requested_by) from subscriptions.dead_letters r
         where r.subscription = d.subscription and r.partition = d.partition)
       where subscription = $1 and position = $2`,
      [this.subscription, letter.position],
    );
  }

  /** The replay met an error again: it is the new head of its partition, and waits for the operator. */
  async failedAgain(letter: OpenLetter, error: unknown): Promise<void> {
    await this.database.control.query(
      `update subscriptions.dead_letters set
         state = case when position = $3 then 'failed' else state end,
         error = case when position = $3 then $4 else error end,
         attempts = case when position = $3 then attempts + 1 else attempts end,
         replay_requested_by = null
       where subscription = $1 and partition = $2 and state in ('failed', 'parked')`,
      [this.subscription, letter.partition, letter.position, describeThrown(error)],
    );
  }

  /** Lets a partition flow again, once nothing of it is open any more. */
  async release(partition: string): Promise<void> {
    const { rowCount } = await this.database.pool.query(
      `select 1 from subscriptions.dead_letters
       where subscription = $1 and partition = $2 and state in ('failed', 'parked') limit 1`,
      [this.subscription, partition],
    );
    if (!rowCount) this.parked.delete(partition);
  }
}
