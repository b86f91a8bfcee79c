import type { PoolClient } from 'pg';
import type { Lease } from './leases';

/** This worker was replaced while it was away: what it was about to write must not be written. */
export class Fenced extends Error {
  override readonly name = 'Fenced';

  constructor(subscription: string) {
    super(`${subscription} went on without this worker, which starts anew from its checkpoint`);
  }
}

/**
 * Moves the checkpoint, unless somebody else holds the lease by now: then the whole transaction is undone.
 *
 * With `from` also unless it stands elsewhere: a commit whose answer was lost has moved it already, and a crash of the
 * server takes commits that did not wait for the disk back. Either way the worker has to start from what is stored.
 */
export async function moveCheckpoint(client: PoolClient, lease: Lease, position: number, from?: number): Promise<void> {
  const moved = await client.query({
    name: 'subscriptions.checkpoint',
    text: `update subscriptions.checkpoints set position = $4, updated_at = clock_timestamp()
           where name = $1 and segment = $2 and epoch = $3 and position = coalesce($5, position)`,
    values: [lease.name, lease.segment, lease.epoch, position, from],
  });
  if (moved.rowCount === 0) throw new Fenced(lease.name);
}

/** Asserts the lease for writes that do not move the checkpoint, and keeps it until the transaction ends. */
export async function assertLease(client: PoolClient, lease: Lease): Promise<void> {
  const held = await client.query(
    'select 1 from subscriptions.checkpoints where name = $1 and segment = $2 and epoch = $3 for share',
    [lease.name, lease.segment, lease.epoch],
  );
  if (held.rowCount === 0) throw new Fenced(lease.name);
}
