import type { PoolClient } from 'pg';
import { assertLease } from './fencing';
import type { Lease } from './leases';
import type { Projection, ProjectionMetadata } from './projection';
import { ProjectionRunner } from './projection-runner';
import type { RunnerDependencies } from './runner';

const page = 1000;

export const rebuildOf = (name: string): string => `${name}/rebuild`;
/** As subscriptions.shadow_of() in the database names it. */
const shadowOf = (table: string): string => `${table}__rebuild`;

/**
 * Makes a view anew from the whole log, in a table beside the live one, and swaps the two in one transaction once it has
 * caught up. Whoever reads sees the old view until then, complete, and the new one after it. Reactions are not rebuilt:
 * what they did was done in the world.
 */
export class RebuildRunner extends ProjectionRunner {
  constructor(
    private readonly metadata: ProjectionMetadata,
    projection: Projection,
    deps: RunnerDependencies,
  ) {
    const building = { name: rebuildOf(metadata.name), version: metadata.version };
    super(building, projection, { segment: 0, segments: 1 }, deps, shadowOf(projection.table));
  }

  protected override async run(lease: Lease, abort: AbortController): Promise<void> {
    if (lease.position === 0) await this.begin(lease);
    this.logger.log(`Building ${this.projection.table} anew, from ${lease.position} on`);
    await super.run(lease, abort);
  }

  private async begin(lease: Lease): Promise<void> {
    await this.deps.database.relaxedTransaction(async (client) => {
      await assertLease(client, lease);
      await client.query('select subscriptions.begin_rebuild($1)', [this.projection.table]);
    });
  }

  /** The live worker is held up for the moment that the swap takes, and finds itself replaced after it. */
  protected override async caughtUp(lease: Lease): Promise<boolean> {
    const { name, version } = this.metadata;
    const swapped = await this.deps.database.relaxedTransaction(async (client) => {
      await assertLease(client, lease);
      const live = await client.query<{ position: string }>(
        'select position from subscriptions.checkpoints where name = $1 for update',
        [name],
      );
      const target = Math.max(...live.rows.map((row) => Number(row.position)));
      // what the live view has shown must be in the new one
      if (!(await this.follow(client, target))) return false;
      const position = Math.max(target, this.position);
      await client.query('select subscriptions.finish_rebuild($1)', [this.projection.table]);
      await client.query(
        `update subscriptions.checkpoints
         set position = $2, version = $3, epoch = epoch + 1, owner = null, lease_until = null where name = $1`,
        [name, position, version],
      );
      await client.query(`delete from subscriptions.checkpoints where name = $1`, [this.name]);
      // What the old view could not digest the new one has, or has dead letters of its own for it.
      await client.query(
        `update subscriptions.dead_letters set state = 'discarded', resolved_by = $2, resolved_at = clock_timestamp(),
           reason = 'the view was rebuilt' where subscription = $1 and state in ('failed', 'parked')`,
        [name, `system:${this.name}`],
      );
      await client.query(
        `delete from subscriptions.dead_letters d using subscriptions.dead_letters r
         where d.subscription = $1 and r.subscription = $2 and d.position = r.position`,
        [name, this.name],
      );
      await client.query('update subscriptions.dead_letters set subscription = $1 where subscription = $2', [
        name,
        this.name,
      ]);
      return true;
    });
    if (swapped) {
      this.logger.log(`${this.projection.table} has been swapped for the one built anew`);
      this.deps.forget(lease);
    }
    return swapped;
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
}
