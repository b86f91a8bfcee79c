import { setTimeout as delay } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import { isInfrastructure, messageOf } from '../fault';
import { Fenced, assertLease, moveCheckpoint } from './fencing';
import type { Lease } from './leases';
import type { Projection, ProjectionMetadata } from './projection';
import { ProjectionRunner } from './projection-runner';
import type { RunnerDependencies } from './runner';

const page = 1000;
/** Who has used the view for longer than this is not waited for with a lock in hand, in ms. */
const briefMs = 100;
/** The longest pause while it only waits for others to let go of the view, in ms. */
const waitMs = 1000;
/** How often it repeats what it waits for, or why it fails, in ms. */
const sayEveryMs = 60_000;

export const rebuildOf = (name: string): string => `${name}/rebuild`;
/** As subscriptions.shadow_of() in the database names it. */
const shadowOf = (table: string): string => `${table}__rebuild`;

/**
 * Makes a view anew from the whole log, in a table beside the live one, and swaps the two in one transaction once it has
 * caught up. Whoever reads sees the old view until then, complete, and the new one after it. Reactions are not rebuilt:
 * what they did was done in the world.
 *
 * What fails is told in the subscription's status and tried again, with the pauses of `retry`, until it succeeds or an
 * operator abandons the rebuild.
 */
export class RebuildRunner extends ProjectionRunner {
  private signal = AbortSignal.abort();
  private isAnalyzed = false;
  /** In a row. */
  private failures = 0;
  /** Runs until the swap may be tried again. */
  private pause: NodeJS.Timeout | undefined;
  /** What stands in the status; undefined when this process cannot know. */
  private shown: string | null | undefined;
  private readonly saidAt = { log: -Infinity, error: -Infinity };

  constructor(
    private readonly metadata: ProjectionMetadata,
    projection: Projection,
    deps: RunnerDependencies,
  ) {
    const building = { name: rebuildOf(metadata.name), version: metadata.version };
    super(building, projection, { segment: 0, segments: 1 }, deps, shadowOf(projection.table));
  }

  /** Removes the table beside the live one and all that is known of the rebuild. @returns false when there is none */
  abandon(): Promise<boolean> {
    return this.deps.database.relaxedTransaction(async (client) => {
      const { rowCount } = await client.query('delete from subscriptions.checkpoints where name = $1', [this.name]);
      if (rowCount === 0) return false;
      await this.forgetLetters(client);
      await client.query('select subscriptions.abandon_rebuild($1)', [this.projection.table]);
      return true;
    });
  }

  protected override async run(lease: Lease, abort: AbortController): Promise<void> {
    this.signal = abort.signal;
    this.isAnalyzed = false;
    this.failures = 0;
    this.shown = undefined;
    try {
      const from = await this.prepare(lease);
      if (from === undefined) return;
      this.failures = 0;
      this.logger.log(`Building ${this.projection.table} anew, from ${from} on`);
      await super.run({ ...lease, position: from }, abort);
    } finally {
      clearTimeout(this.pause);
      this.pause = undefined;
    }
  }

  /** @returns where it goes on: where it was, unless it has to begin anew; undefined when it was stopped before it could */
  private async prepare(lease: Lease): Promise<number | undefined> {
    while (!this.signal.aborted) {
      try {
        if (lease.position > 0 && (await this.isCurrent())) return lease.position;
        await this.begin(lease);
        return 0;
      } catch (error) {
        await this.failed(lease, error);
        await this.backOff(this.failures, error, this.signal);
      }
    }
    return undefined;
  }

  /** False when the table beside the view is gone, or was made before a migration that altered the view. */
  private async isCurrent(): Promise<boolean> {
    const { rows } = await this.deps.database.pool.query<{ current: boolean | null }>(
      'select subscriptions.shape_of(to_regclass($1)) = subscriptions.shape_of(to_regclass($2)) as current',
      [this.projection.table, this.table],
    );
    return rows[0]?.current === true;
  }

  private async begin(lease: Lease): Promise<void> {
    await this.deps.database.relaxedTransaction(async (client) => {
      await moveCheckpoint(client, lease, 0);
      await this.forgetLetters(client);
      await client.query('select subscriptions.begin_rebuild($1)', [this.projection.table]);
    });
    this.letters.parked.clear();
    this.advance(0);
    await this.show(lease, null);
  }

  /** Everything known is in the new table: swaps, or arranges for the next try. */
  protected override async caughtUp(lease: Lease): Promise<boolean> {
    if (this.pause) return false;
    try {
      if (await this.swap(lease)) {
        this.logger.log(`${this.projection.table} has been swapped for the one built anew`);
        this.deps.forget(lease);
        return true;
      }
    } catch (error) {
      await this.failed(lease, error);
    }
    this.pause = setTimeout(() => {
      this.pause = undefined;
      this.wake();
    }, this.pauseMs());
    return false;
  }

  /** @returns false when the time has not come: somebody uses the view, or there is more to be applied first */
  private async swap(lease: Lease): Promise<boolean> {
    const { pool } = this.deps.database;
    const { table } = this.projection;
    await pool.query('select subscriptions.assert_rebuildable($1)', [table]);
    // claimed again, it begins anew
    if (!(await this.isCurrent())) throw new Fenced(lease.name);
    await this.show(lease, null);
    if (!this.isAnalyzed) await pool.query('select subscriptions.analyze_rebuild($1)', [table]);
    this.isAnalyzed = true;
    const holder = await this.findHolder();
    if (holder !== undefined) {
      this.failures++;
      this.say('log', `The swap waits for the transaction of server process ${holder}, which uses ${table}`);
      return false;
    }
    return this.deps.database.relaxedTransaction((client) => this.swapNow(client, lease));
  }

  /** Server process of a transaction that does not let go of the view, as a report or a backup may. */
  private async findHolder(): Promise<number | undefined> {
    const { pool } = this.deps.database;
    const find = async () => {
      const { rows } = await pool.query<{ pid: number; transaction: string }>(
        `select pid, virtualtransaction as transaction from pg_locks
         where locktype = 'relation' and granted and relation = to_regclass($1)
           and database = (select oid from pg_database where datname = current_database())`,
        [this.projection.table],
      );
      return rows;
    };
    const before = new Set((await find()).map(({ transaction }) => transaction));
    if (before.size === 0) return undefined;
    await delay(briefMs, undefined, { signal: this.signal }).catch(() => undefined);
    return (await find()).find(({ transaction }) => before.has(transaction))?.pid;
  }

  /**
   * Takes its locks in the order of all others: checkpoints before tables. Readers wait for the last of them alone, for 50
   * ms at most, and the live worker for little more; only the table that nobody else uses is worth a longer wait.
   */
  private async swapNow(client: PoolClient, lease: Lease): Promise<boolean> {
    const { name, version } = this.metadata;
    // long enough to send an autovacuum away
    await client.query(`set local lock_timeout = '2s'`);
    await client.query(`lock table ${this.table} in access exclusive mode`);
    const live = await client.query<{ position: string; version: number }>(
      'select position, version from subscriptions.checkpoints where name = $1 order by segment for update',
      [name],
    );
    await client.query(`set local lock_timeout = '50ms'`);
    await assertLease(client, lease);
    const newest = Math.max(...live.rows.map((row) => row.version));
    if (newest > version)
      throw new Error(`Version ${newest} of the view is live; this process builds version ${version}`);
    const positions = live.rows.map((row) => Number(row.position));
    // what the live view has shown must be in the new one, unless the log has lost it
    const target = Math.min(Math.max(...positions), await this.deps.store.head());
    if (!(await this.follow(client, target))) return false;
    const position = Math.max(target, this.position);
    const moved = await this.moveLetters(client);
    const isSame = newest === version && !moved && (await this.isQuiet(Math.min(...positions), position));
    // Otherwise the live worker finds itself replaced, and goes on from here.
    if (!isSame) {
      await client.query(
        `update subscriptions.checkpoints
         set position = $2, version = $3, epoch = epoch + 1, owner = null, lease_until = null where name = $1`,
        [name, position, version],
      );
    }
    await client.query(`delete from subscriptions.checkpoints where name = $1`, [this.name]);
    // last, since from here to the commit readers wait
    await client.query('select subscriptions.finish_rebuild($1)', [this.projection.table]);
    return true;
  }

  /** Applies the few events up to `target` in the swap's own transaction. @returns false when it is too many for that */
  private async follow(client: PoolClient, target: number): Promise<boolean> {
    if (this.position >= target) return true;
    const events = await this.deps.store.readLog(this.position, page);
    if ((events.at(-1)?.position ?? 0) < target) return false;
    const relevant = events.filter((event) => event.position <= target && this.types.has(event.eventType));
    if (relevant.some((event) => this.letters.parked.has(this.partition(event)))) return false;
    if (relevant.length > 0) await this.projection.project(relevant, client, this.table);
    return true;
  }

  /** True when no event between the two concerns the view, so that a worker at `after` may go on with it. */
  private async isQuiet(after: number, last: number): Promise<boolean> {
    if (after >= last) return after === last;
    return (await this.deps.store.readTypes([...this.types], after, last)).events.length === 0;
  }

  /** What the old view could not digest the new one has, or has dead letters of its own for. @returns whether there were any */
  private async moveLetters(client: PoolClient): Promise<boolean> {
    const { name } = this.metadata;
    const discarded = await client.query(
      `update subscriptions.dead_letters set state = 'discarded', resolved_by = $2, resolved_at = clock_timestamp(),
         reason = 'the view was rebuilt' where subscription = $1 and state in ('failed', 'parked')`,
      [name, `system:${this.name}`],
    );
    await client.query(
      `delete from subscriptions.dead_letters d using subscriptions.dead_letters r
       where d.subscription = $1 and r.subscription = $2 and d.position = r.position`,
      [name, this.name],
    );
    const moved = await client.query(
      'update subscriptions.dead_letters set subscription = $1 where subscription = $2',
      [name, this.name],
    );
    return Boolean(discarded.rowCount) || Boolean(moved.rowCount);
  }

  private async forgetLetters(client: PoolClient): Promise<void> {
    await client.query('delete from subscriptions.dead_letters where subscription = $1', [this.name]);
  }

  /** Trouble of the infrastructure, such as a lock that was not to be had, is waited for; all else is a failure that is shown. */
  private async failed(lease: Lease, error: unknown): Promise<void> {
    if (error instanceof Fenced) throw error;
    this.failures++;
    const text = messageOf(error);
    if (isInfrastructure(error)) {
      this.say('log', `The rebuild waits: ${text}`);
      return;
    }
    this.say('error', `The rebuild failed, trying again: ${text}`);
    try {
      await this.show(lease, text);
    } catch (unshown) {
      if (!isInfrastructure(unshown)) throw unshown;
    }
  }

  private async show(lease: Lease, error: string | null): Promise<void> {
    if (error === this.shown) return;
    const { rowCount } = await this.deps.database.control.query(
      'update subscriptions.checkpoints set error = $4 where name = $1 and segment = $2 and epoch = $3',
      [lease.name, lease.segment, lease.epoch, error],
    );
    if (rowCount === 0) throw new Fenced(lease.name);
    this.shown = error;
  }

  /** At most once a minute: the status has the latest. */
  private say(level: 'log' | 'error', text: string): void {
    const now = performance.now();
    if (now < this.saidAt[level] + sayEveryMs) return;
    this.saidAt[level] = now;
    this.logger[level](text);
  }

  private pauseMs(): number {
    const { backoffMs, maxBackoffMs } = this.deps.retry;
    const ceiling = this.shown ? maxBackoffMs : Math.min(maxBackoffMs, waitMs);
    return Math.min(backoffMs * 2 ** Math.min(this.failures, 20), ceiling) * (0.5 + Math.random() / 2);
  }
}
