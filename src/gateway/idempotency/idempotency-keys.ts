import { Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import type { QueryConfig } from 'pg';
import { Config } from '../../config/config';
import { Database } from '../../kernel/database/database';
import { messageOf } from '../../kernel/fault';

export interface StoredAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

export type Claim = 'claimed' | 'running' | 'other-body' | StoredAnswer;

/** A request that died with its process is taken over after this long; one that runs says so in between. */
const lockSeconds = 5;
const renewMs = 1000;
const sweepMs = 600_000;

/**
 * What was answered to which key. The table saves work, it does not guard the effect: ids of what a request creates
 * derive from its key, so that a repeat which finds no row here still does nothing twice. Hence the relaxed commits.
 */
@Injectable()
export class IdempotencyKeys implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger('IdempotencyKeys');
  private readonly timers: NodeJS.Timeout[] = [];
  /** Claimed by this process, and not answered yet. */
  private readonly running = new Set<string>();

  constructor(
    private readonly database: Database,
    private readonly config: Config,
  ) {}

  /** @param former the fingerprint that the release before gave to the same request; its rows are found by that */
  async claim(id: string, fingerprint: string, former: string): Promise<Claim> {
    const { rows } = await this.database.relaxed.query<{
      claimed: boolean;
      fingerprint: string;
      status: number | null;
      headers: Record<string, string>;
      body: unknown;
    }>({
      name: 'idempotency.claim',
      text: `with mine as (
          insert into gateway.idempotency_keys as k (id, fingerprint, locked_until)
          values ($1, $2, clock_timestamp() + interval '${lockSeconds} s')
          on conflict (id) do update set locked_until = excluded.locked_until
            where k.status is null and k.locked_until < clock_timestamp()
              and k.fingerprint in (excluded.fingerprint, $3)
          returning fingerprint)
        select true as claimed, fingerprint, null::smallint as status, null::jsonb as headers, null::json as body from mine
        union all
        select false, fingerprint, status, headers, body from gateway.idempotency_keys
        where id = $1 and not exists (select from mine)`,
      values: [id, fingerprint, former],
    });
    const row = rows[0];
    // inserted by another request after this statement's snapshot: that one is running
    if (!row) return 'running';
    if (row.claimed) {
      this.running.add(id);
      return 'claimed';
    }
    if (row.fingerprint !== fingerprint && row.fingerprint !== former) return 'other-body';
    if (row.status === null) return 'running';
    return { status: row.status, headers: row.headers, body: row.body };
  }

  /** Free to fail, as is {@link release}: the request has been carried out and is answered, whatever becomes of its row. */
  async keep(id: string, answer: StoredAnswer): Promise<void> {
    this.running.delete(id);
    await this.write({
      name: 'idempotency.keep',
      text: 'update gateway.idempotency_keys set status = $2, headers = $3, body = $4 where id = $1',
      values: [id, answer.status, answer.headers, JSON.stringify(answer.body ?? null)],
    });
  }

  async release(id: string): Promise<void> {
    this.running.delete(id);
    await this.write({
      text: 'delete from gateway.idempotency_keys where id = $1 and status is null',
      values: [id],
    });
  }

  private async write(statement: QueryConfig): Promise<void> {
    try {
      await this.database.relaxed.query(statement);
    } catch (error) {
      this.logger.debug(`Cannot keep or release a key, which lapses: ${messageOf(error)}`);
    }
  }

  onApplicationBootstrap(): void {
    // at once as well, for processes that do not live as long as the interval
    void this.sweep();
    this.timers.push(
      setInterval(() => void this.sweep(), sweepMs).unref(),
      setInterval(() => void this.renew(), renewMs).unref(),
    );
  }

  onApplicationShutdown(): void {
    for (const timer of this.timers) clearInterval(timer);
  }

  /** A repeat that ran beside its first try could be refused for what the first has just taken, such as the last unit. */
  private async renew(): Promise<void> {
    if (this.running.size === 0) return;
    await this.database.relaxed
      .query(
        `update gateway.idempotency_keys set locked_until = clock_timestamp() + interval '${lockSeconds} s'
         where id = any($1::uuid[]) and status is null`,
        [[...this.running]],
      )
      .catch((error: Error) => this.logger.warn(`Cannot renew claims, trying again: ${error.message}`));
  }

  /** In small batches: one giant DELETE would hold up writers. */
  private async sweep(): Promise<void> {
    try {
      for (let deleted = 1; deleted > 0;) {
        const result = await this.database.relaxed.query(
          `delete from gateway.idempotency_keys where id in (
             select id from gateway.idempotency_keys where created_at < now() - make_interval(hours => $1) limit 1000)`,
          [this.config.IDEMPOTENCY_KEY_HOURS],
        );
        deleted = result.rowCount ?? 0;
      }
    } catch (error) {
      this.logger.warn(`Cannot remove old keys, trying again later: ${(error as Error).message}`);
    }
  }
}
