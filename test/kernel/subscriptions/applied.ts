import type { Client, PoolClient } from 'pg';
import type { StoredEvent } from '../../../src/kernel/event-store/event';
import { type Projection, ProjectionOf } from '../../../src/kernel/subscriptions/projection';

/** A view that hides nothing: a row for each time that an event was applied, in the order in which it was. */
export const appliedTable = `
  create schema test_view;
  create table test_view.applied (nth bigint generated always as identity primary key, position bigint not null, n integer not null)`;

@ProjectionOf('test.applied')
export class Applied implements Projection {
  readonly table = 'test_view.applied';
  readonly eventTypes = ['thing.happened'];
  /** What the test wants to happen before the view is written. */
  before: (events: readonly StoredEvent[], view: PoolClient) => void | Promise<void> = () => undefined;

  async project(events: readonly StoredEvent[], view: PoolClient, table: string): Promise<void> {
    await this.before(events, view);
    await view.query(`insert into ${table} (position, n) select * from unnest($1::bigint[], $2::integer[])`, [
      events.map((event) => event.position),
      events.map((event) => event.payload['n']),
    ]);
  }
}

export async function applied(tester: Client): Promise<{ position: number; n: number }[]> {
  const { rows } = await tester.query('select position::float8, n from test_view.applied order by nth');
  return rows;
}

/** The lease goes to somebody whom nobody will find dead: the tester. */
export async function takeLease(tester: Client, name: string): Promise<void> {
  await tester.query(
    `update subscriptions.checkpoints set owner = gen_random_uuid(), epoch = epoch + 1,
       lease_until = clock_timestamp() + interval '1 hour', backend_pid = pg_backend_pid(),
       backend_start = (select backend_start from pg_stat_activity where pid = pg_backend_pid())
     where name = $1`,
    [name],
  );
}

export async function giveBackLease(tester: Client, name: string): Promise<void> {
  await tester.query(`update subscriptions.checkpoints set owner = null where name = $1`, [name]);
}

export async function checkpoint(tester: Client, name: string): Promise<{ position: number; epoch: number }> {
  const { rows } = await tester.query(
    'select position::float8, epoch::float8 from subscriptions.checkpoints where name = $1',
    [name],
  );
  return rows[0];
}
