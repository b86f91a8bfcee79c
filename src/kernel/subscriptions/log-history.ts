import { Injectable } from '@nestjs/common';
import { Database } from '../database/database';
import { DomainError } from '../domain-error';
import { type Listed, ListOrder, type SortValues } from '../http/list-order';
import { newId } from '../ids';
import type { LostEvents } from './log-tail';

/** One occasion on which the log was found without events that a process had seen in it. */
export interface HistoryChange {
  readonly id: string;
  readonly detectedAt: Date;
  /** First and last position of the lost events. Other events may stand there by now. */
  readonly lostFrom: number;
  readonly lostTo: number;
  /** The newest position in the log when it was found. */
  readonly head: number;
  readonly acknowledgedBy: string | null;
  readonly acknowledgedAt: Date | null;
}

const columns = `id, detected_at as "detectedAt", lost_from::float8 as "lostFrom", lost_to::float8 as "lostTo",
  head::float8 as head, acknowledged_by as "acknowledgedBy", acknowledged_at as "acknowledgedAt"`;

/** Newest first. */
export const historyOrder = new ListOrder(
  'history-changes',
  [
    ['history_changes.detected_at', 'instant'],
    ['history_changes.id', 'uuid'],
  ],
  'desc',
);

/**
 * When the log has lost its end: after a failover to a replica that lagged behind, or when a backup was restored. What was
 * lost cannot be had again here; an operator has to know, and to say so.
 */
@Injectable()
export class LogHistory {
  constructor(private readonly database: Database) {}

  /** @returns false when it is known already */
  async record({ from, to }: LostEvents, detectedBy: string): Promise<boolean> {
    const { rowCount } = await this.database.control.query(
      `insert into subscriptions.history_changes (id, detected_by, lost_from, lost_to, head)
       select $1, $2, $3, $4, coalesce(max(position), 0) from event_store.events
       having not exists (select from subscriptions.history_changes
                          where detected_by = $2 and lost_from = $3 and lost_to = $4 and acknowledged_at is null)`,
      [newId(), detectedBy, from, to],
    );
    return rowCount === 1;
  }

  /**
   * Sets checkpoints that are behind the end of the log back to it, so that what comes next is handled.
   *
   * @returns the names of those reactions, and of those views, which show more than the log has
   */
  async correctCheckpoints(): Promise<{ reactions: string[]; views: string[] }> {
    const { rows } = await this.database.control.query<{ name: string; kind: string }>(
      `with corrected as (
         update subscriptions.checkpoints c
         set position = head.position, epoch = c.epoch + 1, owner = null, lease_until = null
         from (select coalesce(max(position), 0) as position from event_store.events) head
         where c.position > head.position returning c.name, c.kind)
       select distinct name, kind from corrected`,
    );
    const names = (kind: string) => rows.filter((row) => row.kind === kind).map((row) => row.name);
    return { reactions: names('reaction'), views: names('projection') };
  }

  /** Newest first, `limit` of them behind the sort values `after`. */
  async list(limit: number, after: SortValues | null): Promise<Listed<HistoryChange>[]> {
    const { rows } = await this.database.pool.query<Listed<HistoryChange>>(
      `select ${columns}, ${historyOrder.cursor} from subscriptions.history_changes
       where ${historyOrder.beyond('$1')} order by ${historyOrder.by} limit $2`,
      [after, limit],
    );
    return rows;
  }

  /** @throws DomainError `history-change-unknown` */
  async acknowledge(id: string, by: string): Promise<HistoryChange> {
    const { rows } = await this.database.control.query<HistoryChange>(
      `update subscriptions.history_changes
       set acknowledged_by = coalesce(acknowledged_by, $2), acknowledged_at = coalesce(acknowledged_at, clock_timestamp())
       where id = $1 returning ${columns}`,
      [id, by],
    );
    if (rows[0]) return rows[0];
    throw new DomainError('not-found', 'history-change-unknown', `There is no change of the log's history ${id}.`);
  }

  async unacknowledged(): Promise<number> {
    const { rows } = await this.database.pool.query<{ count: number }>(
      'select count(*)::int as count from subscriptions.history_changes where acknowledged_at is null',
    );
    return rows[0]!.count;
  }
}
