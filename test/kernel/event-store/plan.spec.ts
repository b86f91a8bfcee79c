import type { Client } from 'pg';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, connect, eventually, happened, type OpenStore, openStore } from '../support';

describe('the plan of an append', () => {
  let db: TestDatabase;
  let tester: Client;
  let open: OpenStore;

  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
    await tester.query('alter table event_store.events set (autovacuum_enabled = off)');
    open = await openStore(db.url);
  });
  afterAll(async () => {
    await tester.end();
    await db.drop();
  });

  it('does not read the whole log, even while nothing is known of how long it has become', async () => {
    // the first appends make the plan, of an empty table
    for (let n = 0; n < 10; n++) await open.store.append(aThing(), [happened(n)]);
    await open.store.append(
      aThing(),
      Array.from({ length: 5000 }, (_, n) => happened(n)),
    );
    const scans = async () => {
      const { rows } = await tester.query<{ scans: string }>(
        `select pg_stat_force_next_flush(), seq_scan as scans from pg_stat_user_tables where relid = 'event_store.events'::regclass`,
      );
      return Number(rows[0]!.scans);
    };
    const before = await scans();
    await Promise.all(Array.from({ length: 200 }, (_, n) => open.store.append(aThing(), [happened(n)])));
    for (let n = 0; n < 20; n++) await open.store.append(aThing(), [happened(n)], { expectedVersion: 'noStream' });
    // what a session did is counted when it ends
    await open.close();
    await eventually(async () => {
      const { rows } = await tester.query('select from pg_stat_activity where datname = current_database()');
      return rows.length === 1;
    });
    expect((await scans()) - before).toBe(0);
  });
});
