import { Injectable } from '@nestjs/common';
import { Database } from '../database/database';
import { DomainError } from '../domain-error';
import { type Listed, ListOrder, type SortValues } from '../http/list-order';

export const deadLetterStates = ['failed', 'parked', 'replayed', 'discarded'] as const;
export type DeadLetterState = (typeof deadLetterStates)[number];

export interface DeadLetter {
  readonly subscription: string;
  readonly position: number;
  readonly eventId: string;
  readonly eventType: string;
  readonly partition: string;
  readonly state: DeadLetterState;
  readonly error: string | null;
  readonly attempts: number;
  readonly since: Date;
  readonly replayRequestedBy: string | null;
  readonly resolvedBy: string | null;
  readonly resolvedAt: Date | null;
  readonly reason: string | null;
}

const columns = `subscription, position::float8 as position, event_id as "eventId", event_type as "eventType", partition,
  state, error, attempts, since as since, replay_requested_by as "replayRequestedBy",
  resolved_by as "resolvedBy", resolved_at as "resolvedAt", reason`;

/** Newest first. An event that several subscriptions could not handle has one letter for each. */
export const deadLetterOrder = new ListOrder(
  'dead-letters',
  [
    ['d.position', 'bigint'],
    ['d.subscription', 'text'],
  ],
  'desc',
);

/** The operators' side of dead letters: look, ask for a replay, or discard. The worker of the subscription does the rest. */
@Injectable()
export class DeadLetters {
  constructor(private readonly database: Database) {}

  /** Newest first, `limit` of them behind the sort values `after`. */
  async list(
    filter: { subscription?: string; state?: readonly DeadLetterState[] },
    limit: number,
    after: SortValues | null = null,
  ): Promise<Listed<DeadLetter>[]> {
    const { rows } = await this.database.pool.query<Listed<DeadLetter>>(
      `select ${columns}, ${deadLetterOrder.cursor} from subscriptions.dead_letters d
       where ($1::text is null or subscription = $1) and ($2::text[] is null or state = any($2))
         and ${deadLetterOrder.beyond('$3')}
       order by ${deadLetterOrder.by} limit $4`,
      [filter.subscription ?? null, filter.state ?? null, after, limit],
    );
    return rows;
  }

  async get(subscription: string, position: number): Promise<DeadLetter> {
    const { rows } = await this.database.pool.query<DeadLetter>(
      `select ${columns} from subscriptions.dead_letters d where subscription = $1 and d.position = $2`,
      // beyond what the log can reach there is nothing, and nothing that a bigint could hold either
      [subscription, Number.isSafeInteger(position) ? position : 0],
    );
    if (rows[0]) return rows[0];
    throw new DomainError('not-found', 'dead-letter-unknown', `${subscription} has no dead letter at ${position}.`);
  }

  /**
   * Has the letter's whole partition delivered anew, in order, by whoever runs the subscription.
   *
   * @returns what will be delivered
   */
  async requestReplay(subscription: string, position: number, by: string): Promise<DeadLetter[]> {
    const letter = await this.open(subscription, position);
    return this.ask(subscription, letter.partition, by);
  }

  /** What a replay of this letter would deliver, in order; delivers nothing. */
  async planReplay(subscription: string, position: number): Promise<DeadLetter[]> {
    const letter = await this.open(subscription, position);
    const { rows } = await this.database.pool.query<DeadLetter>(
      `select ${columns} from subscriptions.dead_letters d
       where subscription = $1 and partition = $2 and state in ('failed', 'parked') order by d.position`,
      [subscription, letter.partition],
    );
    return rows;
  }

  /** Has everything that is open delivered anew, of one subscription or of all. @returns how many letters that is */
  async requestReplayOfAll(by: string, subscription?: string): Promise<number> {
    const { rowCount } = await this.database.control.query(
      `update subscriptions.dead_letters set replay_requested_by = $1
       where state in ('failed', 'parked') and ($2::text is null or subscription = $2)`,
      [by, subscription ?? null],
    );
    return rowCount ?? 0;
  }

  /** Gives the event up for this subscription; what was parked behind it is delivered. */
  async discard(subscription: string, position: number, by: string, reason: string): Promise<DeadLetter> {
    await this.open(subscription, position);
    // what is behind one that failed still waits for a word on that
    await this.database.control.query(
      `with discarded as (
         update subscriptions.dead_letters
         set state = 'discarded', resolved_by = $3, resolved_at = clock_timestamp(), reason = $4
         where subscription = $1 and position = $2 and state in ('failed', 'parked') returning partition)
       update subscriptions.dead_letters d set replay_requested_by = $3 from discarded
       where d.subscription = $1 and d.partition = discarded.partition and d.position <> $2 and d.state = 'parked'
         and not exists (select from subscriptions.dead_letters f where f.subscription = $1
                           and f.partition = discarded.partition and f.position <> $2 and f.state = 'failed')`,
      [subscription, position, by, reason],
    );
    return this.get(subscription, position);
  }

  private async open(subscription: string, position: number): Promise<DeadLetter> {
    const letter = await this.get(subscription, position);
    if (letter.state === 'failed' || letter.state === 'parked') return letter;
    throw new DomainError(
      'conflict',
      `dead-letter-${letter.state}`,
      `This dead letter has been ${letter.state} already.`,
    );
  }

  private async ask(subscription: string, partition: string, by: string): Promise<DeadLetter[]> {
    const { rows } = await this.database.control.query<DeadLetter>(
      `update subscriptions.dead_letters d set replay_requested_by = $3
       where subscription = $1 and partition = $2 and state in ('failed', 'parked') returning ${columns}`,
      [subscription, partition, by],
    );
    return rows.sort((a, b) => a.position - b.position);
  }
}
