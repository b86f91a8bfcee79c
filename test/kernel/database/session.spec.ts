import type { Client } from 'pg';
import { connected } from '../../../src/kernel/database/connected';
import { Database } from '../../../src/kernel/database/database';
import { Session } from '../../../src/kernel/database/session';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, connect, eventually, happened, openStore } from '../support';

describe('a session', () => {
  let db: TestDatabase;
  let tester: Client;

  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
  });
  afterAll(async () => {
    await tester.end();
    await db.drop();
  });

  const alter = (setting: string) =>
    tester.query(`do $$ begin execute format('alter database %I ${setting}', current_database()); end $$`);

  it('has the settings that the code relies on, whatever the database has as its defaults', async () => {
    const hostile = {
      default_transaction_isolation: `'repeatable read'`,
      datestyle: `'SQL, DMY'`,
      intervalstyle: `'sql_standard'`,
      timezone: `'Asia/Kathmandu'`,
      standard_conforming_strings: 'off',
      search_path: `'nowhere'`,
      lock_timeout: '0',
      idle_in_transaction_session_timeout: '0',
      statement_timeout: '1',
      synchronous_commit: 'off',
      bytea_output: `'escape'`,
    };
    for (const [name, value] of Object.entries(hostile)) await alter(`set ${name} = ${value.replaceAll("'", "''")}`);
    try {
      const found = await connected(db.appUrl, async (client) => {
        const { rows } = await client.query<{ name: string; value: string }>(
          'select name, current_setting(name) as value from unnest($1::text[]) name',
          [Object.keys(hostile)],
        );
        return Object.fromEntries(rows.map(({ name, value }) => [name, value]));
      });
      expect(found).toEqual({
        default_transaction_isolation: 'read committed',
        datestyle: 'ISO, MDY',
        intervalstyle: 'postgres',
        timezone: 'UTC',
        standard_conforming_strings: 'on',
        search_path: 'public, pg_temp',
        lock_timeout: '10s',
        idle_in_transaction_session_timeout: '5s',
        statement_timeout: '11s',
        synchronous_commit: 'on',
        bytea_output: 'hex',
      });
      const database = new Database(db.appUrl);
      const { rows } = await database.relaxed.query('show synchronous_commit');
      expect(rows).toEqual([{ synchronous_commit: 'off' }]);
      await database.onApplicationShutdown();
    } finally {
      for (const name of Object.keys(hostile)) await alter(`reset ${name}`);
    }
  });

  it('ends when a query has no answer in time', async () => {
    const session = new Session({ connectionString: db.appUrl, query_timeout: 50 });
    await session.connect();
    const ended = new Promise((resolve) => session.once('end', resolve));
    await session.query('set statement_timeout = 0');
    await expect(session.query('select pg_sleep(30)')).rejects.toThrow('Query read timeout');
    await ended;
    await expect(session.query('select 1')).rejects.toThrow(/not queryable/);
  });

  it('that is read-only is replaced: appends succeed once the database takes writes again', async () => {
    const opened = await openStore(db.url);
    try {
      await alter('set default_transaction_read_only = on');
      await tester.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()`,
      );
      await expect(opened.store.append(aThing(), [happened(1)])).rejects.toMatchObject({ code: '25006' });
      await alter('reset default_transaction_read_only');
      await opened.store.append(aThing(), [happened(2)]);
      await opened.database.relaxedTransaction((client) => client.query('select 1'));
    } finally {
      await alter('reset default_transaction_read_only');
      await opened.close();
    }
  });

  it('that reads gives up a lock soon: a locked table takes the connections of others for a moment, not for ten seconds', async () => {
    const { store, database, close } = await openStore(db.url);
    try {
      await tester.query('begin');
      await tester.query('lock table event_store.events');
      const locked = Array.from({ length: 8 }, () => store.getEvents(aThing().id).catch((error: Error) => error));
      const begun = performance.now();
      await database.pool.query('select 1');
      expect(performance.now() - begun).toBeLessThan(5_000);
      expect(await Promise.all(locked)).toEqual(locked.map(() => expect.objectContaining({ code: '55P03' })));
    } finally {
      await tester.query('rollback');
      await close();
    }
  });

  it('that finds the disk full says so of the log, though nothing was appended', async () => {
    const { store, database, close } = await openStore(db.url);
    try {
      expect(store.appendStats.failingMs).toBe(0);
      const full = `do $$ begin raise exception using errcode = 'disk_full'; end $$`;
      await expect(database.relaxed.query(full)).rejects.toMatchObject({ code: '53100' });
      await eventually(async () => Promise.resolve(store.appendStats.failingMs > 0));
      await store.append(aThing(), [happened(1)]);
      expect(store.appendStats.failingMs).toBe(0);
    } finally {
      await close();
    }
  });

  it('whose prepared statement no longer fits its table is replaced', async () => {
    const opened = await openStore(db.url);
    try {
      const thing = aThing();
      await opened.store.append(thing, [happened(1)]);
      await opened.store.getEvents(thing.id);
      await tester.query('alter table event_store.events add column later integer');
      await expect(opened.store.getEvents(thing.id)).rejects.toThrow('cached plan must not change result type');
      await eventually(async () => (await opened.store.getEvents(thing.id)).length === 1);
    } finally {
      await tester.query('alter table event_store.events drop column later');
      await opened.close();
    }
  });
});
