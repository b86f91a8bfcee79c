import { Client } from 'pg';
import type { MigrationInterface, QueryRunner } from 'typeorm';
import { migrations } from '../../../migrations';
import { migrate, MigrationError } from '../../../src/kernel/database/migrate';
import { newId } from '../../../src/kernel/ids';
import { connect, eventually } from '../support';

class Fails1799999999999 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query('select 1 / 0');
  }
  async down(): Promise<void> {}
}

class Adds1799999999997 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query('create table orders.added (n integer)');
  }
  async down(): Promise<void> {}
}

/** A migration waits for its lock for 2 s at a time. */
jest.setTimeout(60_000);

describe('a migration of a database', () => {
  const name = `migrate_${newId().replaceAll('-', '')}`;
  const urlOf = (username: string) =>
    Object.assign(new URL(process.env['TEST_POSTGRES_URL']!), { pathname: `/${name}`, username, password: 'secret' })
      .href;
  const url = urlOf(name);
  let admin: Client;
  let owner: Client;

  beforeEach(async () => {
    admin = await connect(process.env['TEST_POSTGRES_URL']!);
    await admin.query(`create role ${name} login password 'secret'`);
    await admin.query(`create database ${name} owner ${name}`);
    owner = await connect(url);
  });
  afterEach(async () => {
    await owner.end();
    await admin.query(`drop database ${name} with (force)`);
    await admin.query(`drop role ${name}`);
    await admin.end();
  });

  const rows = async (text: string) => (await owner.query<{ name: string }>(text)).rows.map((row) => row.name);
  const schemas = () =>
    rows(`select nspname as name from pg_namespace where nspname !~ '^pg_|^information_schema$' order by 1`);
  const applied = () => rows('select name from orderloom.migrations order by right(name, 13)');
  const names = migrations.map((migration) => migration.name);

  it('applies all that are listed, in their order, once', async () => {
    expect(await migrate(url)).toEqual(names);
    expect(await applied()).toEqual(names);
    expect(await migrate(url)).toEqual([]);
  });

  it('applies all or none', async () => {
    await expect(migrate(url, url, [...migrations, Fails1799999999999])).rejects.toMatchObject({ code: '22012' });
    expect(await schemas()).toEqual(['public']);
    expect(await migrate(url)).toEqual(names);
  });

  it('writes nothing when there is nothing to do, so that a role without rights may ask', async () => {
    await migrate(url);
    await admin.query(`create role ${name}_reader login password 'secret'`);
    await owner.query(`grant usage on schema orderloom to ${name}_reader`);
    await owner.query(`grant select on orderloom.migrations to ${name}_reader`);
    expect(await migrate(urlOf(`${name}_reader`))).toEqual([]);
    await owner.query(`revoke all on orderloom.migrations from ${name}_reader`);
    await owner.query(`revoke all on schema orderloom from ${name}_reader`);
    await admin.query(`drop role ${name}_reader`);
  });

  describe('that has a table public.migrations', () => {
    beforeEach(() =>
      owner.query(
        'create table public.migrations (id serial primary key, timestamp bigint not null, name text not null)',
      ),
    );

    /** As versions before this one have recorded what they had applied. */
    const asBefore = async () => {
      await migrate(url);
      await owner.query(`
        insert into public.migrations (timestamp, name) select right(name, 13)::bigint, name from orderloom.migrations;
        drop schema orderloom cascade`);
    };

    it('moves what is ours, and with the last row the table', async () => {
      await asBefore();
      expect(await migrate(url)).toEqual([]);
      expect(await applied()).toEqual(names);
      expect(await rows(`select 'there' as name where to_regclass('public.migrations') is not null`)).toEqual([]);
    });

    it('applies what is missing there', async () => {
      await asBefore();
      expect(await migrate(url, url, [...migrations, Adds1799999999997])).toEqual([Adds1799999999997.name]);
    });

    it('leaves the rows of another tool alone', async () => {
      await asBefore();
      await owner.query(`insert into public.migrations (timestamp, name) values (1, 'Theirs1')`);
      expect(await migrate(url)).toEqual([]);
      expect(await rows('select name from public.migrations')).toEqual(['Theirs1']);
    });

    it('leaves the table of another tool alone, whatever its columns', async () => {
      await owner.query(`drop table public.migrations; create table public.migrations (name integer)`);
      await owner.query('insert into public.migrations values (7)');
      expect(await migrate(url)).toEqual(names);
      expect(await rows('select name from public.migrations')).toEqual([7]);
    });
  });

  it('is refused by a program that is older than the database, which names what it does not know', async () => {
    await migrate(url);
    await owner.query(
      `insert into orderloom.migrations values ('OrdersLater1800000000001'), ('OrdersLater1800000000002')`,
    );
    const refused = migrate(url);
    await expect(refused).rejects.toThrow(MigrationError);
    await expect(refused).rejects.toThrow(
      'The database is newer than this program, which does not know its migrations OrdersLater1800000000001, OrdersLater1800000000002: ' +
        'start the version of Orderloom that applied them, or a later one.',
    );
  });

  it('is refused where a schema of another application is in the way, and changes nothing', async () => {
    await owner.query('create schema orders');
    const refused = migrate(url);
    await expect(refused).rejects.toThrow(MigrationError);
    await expect(refused).rejects.toThrow(/schema "orders" already exists.*give Orderloom a database of its own/);
    expect(await schemas()).toEqual(['orders', 'public']);
  });

  it('is refused to a role that may not create schemas, with the statement that lets it', async () => {
    await admin.query(`create role ${name}_poor login password 'secret'`);
    try {
      const refused = migrate(urlOf(`${name}_poor`));
      await expect(refused).rejects.toThrow(MigrationError);
      await expect(refused).rejects.toThrow(`run GRANT CREATE ON DATABASE ${name} TO ${name}_poor as an administrator`);
    } finally {
      await admin.query(`drop role ${name}_poor`);
    }
  });

  it('waits for a table that is in use without making others wait behind it', async () => {
    class Alters1799999999998 implements MigrationInterface {
      async up(db: QueryRunner): Promise<void> {
        await db.query('alter table orders.orders_view add column more text');
      }
      async down(): Promise<void> {}
    }
    await migrate(url);
    await owner.query('begin; select from orders.orders_view');
    const migrating = migrate(url, url, [...migrations, Alters1799999999998]);
    const waits = async () => {
      const { rowCount } = await admin.query(
        `select from pg_stat_activity where datname = '${name}' and application_name = 'orderloom/migrations' and wait_event_type = 'Lock'`,
      );
      return rowCount === 1;
    };
    await eventually(waits);
    const reader = await connect(url);
    // behind a migration that waits as long as it takes, it would wait for the owner's transaction as well
    await reader.query('select from orders.orders_view');
    await reader.end();
    await owner.query('rollback');
    expect(await migrating).toEqual(['Alters1799999999998']);
  });
});
