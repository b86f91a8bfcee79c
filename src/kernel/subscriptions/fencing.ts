import type { PoolClient } from 'pg';
import type { LogPosition } from '../event-store/event-store';
import type { Lease } from './leases';

/** This worker was replaced while it was away: what it was about to write must not be written. */
export class Fenced extends Error {
  override readonly name = 'Fenced';

  constructor(subscription: string) {
    super(`${subscription} went on without this worker, which starts anew from its checkpoint`);
  }
}

/** What a worker believes when it moves its checkpoint. */
export interface Beliefs {
  /** Where the checkpoint stands. A commit whose answer was lost, or a crash of the server, may have moved it. */
  readonly from?: number;
  /** An event at or behind the new position that the worker has seen. The log has another history when it is not there. */
  readonly seen?: LogPosition;
}

/**
 * Moves the checkpoint, unless somebody else holds the lease by now, or what the worker believes is not so: then the whole
 * transaction is undone, and the worker starts from what is stored.
 *
 * @throws Fenced
 */
export async function moveCheckpoint(
  client: PoolClient,
  lease: Lease,
  position: number,
  { from, seen }: Beliefs = {},
): Promise<void> {
  const moved = await client.query({
    name: 'subscriptions.checkpoint',
    text: `update subscriptions.checkpoints set position = $4, updated_at = clock_timestamp()
           where name = $1 and segment = $2 and epoch = $3 and position = coalesce($5, position)
             and ($6::bigint is null or exists (select from event_store.events where position = $6 and event_id = $7))`,
    values: [lease.name, lease.segment, lease.epoch, position, from, seen?.position, seen?.id],
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
