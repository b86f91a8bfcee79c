import { Client, DatabaseError } from 'pg';
import { grantApplication } from '../../src/kernel/database/grants';
import { Leases } from '../../src/kernel/subscriptions/leases';
import { connect, eventually } from '../kernel/support';
import { type TestApp, startApp } from '../support/app';
import { grantedUrl } from '../support/database';

const tea = '00000000-0000-7000-8000-000000000001';

const denied = '42501';

/** The signature by which the application calls it. */
const appendOne = `event_store.append(array[gen_random_uuid()], array['thing'], array[null::int], array[1],
  array[gen_random_uuid()], array['thing.happened'], array[1::smallint], array['{}'::jsonb], array['{}'::jsonb])`;

/** What somebody tries who can run any SQL as the application, and the SQLSTATE that refuses it. */
const hostile: readonly (readonly [what: string, statement: string, sqlState?: string])[] = [
  ['runs a program to read', `copy event_store.snapshots from program 'id'`],
  ['runs a program to write', `copy (select 1) to program 'cat > /tmp/x'`],
  ['writes a file of the server', `copy (select 1) to '/tmp/x'`],
  ['loads a file of the server', `copy event_store.snapshots from '/etc/passwd'`],
  ['reads a file of the server', `select pg_read_file('/etc/passwd')`],
  ['lists a directory of the server', `select pg_ls_dir('/')`],
  ['imports a file as a large object', `select lo_import('/etc/passwd')`],
  ['loads a library', `load '/tmp/x.so'`],
  ['changes a setting of the server', `alter system set archive_command = 'id'`],
  ['reads the passwords of roles', 'select rolpassword from pg_authid'],
  ['reads the passwords in another way', 'select passwd from pg_shadow'],
  ['becomes the owner', 'set role orderloom'],
  ['becomes the owner for the session', 'set session authorization orderloom'],
  ['grants itself the owner', 'grant orderloom to current_user'],
  ['grants itself the files of the server', 'grant pg_execute_server_program to current_user'],
  ['makes itself superuser', 'alter role current_user superuser'],
  ['may create roles', 'alter role current_user createrole'],
  ['creates a role', 'create role intruder'],
  ['creates a database', 'create database intruder'],
  ['creates an extension', 'create extension plperl', '0A000|42501'],
  ['writes an event', `insert into event_store.events select * from event_store.events limit 1`],
  [
    'writes an event with the flag of append() set',
    `select set_config('event_store.appending', 'on', false); insert into event_store.events select * from event_store.events limit 1`,
  ],
  ['changes an event', `update event_store.events set payload = '{}'`],
  ['locks events as for a change', 'select * from event_store.events for update'],
  ['deletes events', 'delete from event_store.events'],
  ['empties the log', 'truncate event_store.events'],
  ['copies into the log', `copy event_store.events from stdin`],
  ['disables the trigger', 'alter table event_store.events disable trigger all'],
  ['drops the trigger', 'drop trigger refuse_direct_write on event_store.events'],
  ['turns triggers off', 'set session_replication_role = replica'],
  ['puts a rule on the log', 'create rule quiet as on insert to event_store.events do instead nothing'],
  [
    'puts a trigger on the log',
    'create trigger t before insert on event_store.events execute function event_store.refuse_direct_write()',
  ],
  ['renames a column of the log', 'alter table event_store.events rename column payload to gone'],
  ['drops the log', 'drop table event_store.events'],
  ['drops a schema', 'drop schema event_store cascade'],
  ['owns the log', 'alter table event_store.events owner to current_user'],
  ['rebuilds the log as a view', `select subscriptions.begin_rebuild('event_store.events')`],
  ['puts an empty table in the place of the log', `select subscriptions.finish_rebuild('event_store.events')`],
  ['rebuilds a table that others refer to', `select subscriptions.begin_rebuild('products.products')`, '2BP01'],
  ['drops a table beside the log', `select subscriptions.abandon_rebuild('event_store.events')`],
  ['analyzes a table beside the log', `select subscriptions.analyze_rebuild('event_store.events')`],
  ['rebuilds a catalogue of the server', `select subscriptions.begin_rebuild('pg_catalog.pg_authid')`],
  [
    'replaces append()',
    `create or replace function ${signature('append')} language sql as 'select 1'`,
    '42501|42P13|42723',
  ],
  ['replaces append() in another way', 'drop function event_store.append'],
  ['takes the rights off append()', 'alter function event_store.append security invoker'],
  ['owns append()', 'alter function event_store.append owner to current_user'],
  ['creates a function beside append()', `create function event_store.mine() returns int language sql as 'select 1'`],
  ['creates a function in public', `create function public.mine() returns int language sql as 'select 1'`],
  ['creates an operator in public', 'create operator public.=== (leftarg = int, rightarg = int, function = int4eq)'],
  ['creates a table in the schema of a module', 'create table orders.mine (n int)'],
  ['creates a schema', 'create schema mine'],
  ['creates a temporary table', 'create temp table mine (n int)'],
  ['creates a temporary function', `create function pg_temp.mine() returns int language sql as 'select 1'`],
  ['changes the table of a module', 'alter table users.users drop constraint erased_has_no_email'],
  ['marks migrations as pending', 'delete from orderloom.migrations'],
];

function signature(name: string): string {
  return `event_store.${name}(aggregate_ids uuid[], aggregate_types text[], expected integer[], event_counts integer[],
    event_ids uuid[], event_types text[], schema_versions smallint[], payloads jsonb[], metadatas jsonb[])
    returns table (status text, version integer, "position" bigint, recorded_at timestamptz)`;
}

describe('the role that the application connects as', () => {
  let shop: TestApp;
  let owner: Client;
  let intruder: Client;

  beforeAll(async () => {
    shop = await startApp();
    owner = await connect(shop.databaseUrl);
    intruder = await connect(await grantedUrl(shop.databaseUrl));
    await owner.query(`select * from ${appendOne}`);
  });
  afterAll(async () => {
    await intruder.end();
    await owner.end();
    await shop.close();
  });

  const rights = async () => {
    const { rows } = await owner.query(
      `select jsonb_object_agg(c.oid::regclass, array(select format('%s/%s', grantee, privilege_type) from aclexplode(c.relacl) order by 1)) as acl
       from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'S') and n.nspname !~ '^pg_|information_schema'`,
    );
    return rows[0] as object;
  };
  const log = async () => (await owner.query('select * from event_store.events order by position')).rows;

  it('is an ordinary one, in no other', async () => {
    const { rows } = await intruder.query(
      `select rolname, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls,
              array(select roleid::regrole::text from pg_auth_members where member = r.oid) as member_of
       from pg_roles r where rolname = current_user`,
    );
    expect(rows).toEqual([
      {
        rolname: 'orderloom_app',
        rolsuper: false,
        rolcreatedb: false,
        rolcreaterole: false,
        rolreplication: false,
        rolbypassrls: false,
        member_of: [],
      },
    ]);
  });

  it('is the one that all sessions of the application have', async () => {
    const { rows } = await owner.query(
      `select distinct usename from pg_stat_activity where datname = current_database() and application_name like 'orderloom%'`,
    );
    expect(rows).toEqual([{ usename: 'orderloom_app' }]);
  });

  it.each(hostile.map(([what, statement, sqlState = denied]) => [what, statement, sqlState] as const))(
    'is refused when it %s',
    async (_what, statement, sqlState) => {
      const before = { log: await log(), rights: await rights() };
      const refusal = await intruder.query(statement).then(
        () => undefined,
        (error: unknown) => error,
      );
      await intruder.query('reset all');
      expect(refusal).toBeInstanceOf(DatabaseError);
      expect((refusal as DatabaseError).code).toMatch(new RegExp(`^(${sqlState})$`));
      expect({ log: await log(), rights: await rights() }).toEqual(before);
    },
  );

  it('appends through append(), which no object of the caller can mislead, and which nobody else may call', async () => {
    await intruder.query(`set search_path = users, public`);
    await expect(intruder.query(`select status from ${appendOne}`)).resolves.toMatchObject({
      rows: [{ status: 'ok' }],
    });
    await intruder.query('reset search_path');
    const { rows } = await owner.query(
      `select p.oid::regprocedure::text as routine from pg_proc p join pg_namespace n on n.oid = p.pronamespace
       where n.nspname in ('event_store', 'subscriptions')
         and (p.prosecdef and not coalesce(array_to_string(p.proconfig, ' '), '') ~ 'search_path=pg_catalog, pg_temp'
              or exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) where grantee = 0))`,
    );
    expect(rows).toEqual([]);
    const settings = await owner.query(
      `select prosecdef, array(select unnest(proconfig) order by 1) as proconfig from pg_proc where oid = 'event_store.append'::regproc`,
    );
    expect(settings.rows).toEqual([
      {
        prosecdef: true,
        proconfig: [
          'enable_hashjoin=off',
          'enable_mergejoin=off',
          'enable_seqscan=off',
          'plan_cache_mode=force_generic_plan',
          'search_path=pg_catalog, pg_temp',
        ],
      },
    ]);
  });

  it('serves an order from beginning to end', async () => {
    const customer = await shop.customer();
    const { status, body } = await customer.post('/v1/orders', {
      lines: [{ productId: tea, quantity: 1 }],
      shippingAddress: { name: 'Ada', line1: '12 St James’s Square', city: 'London', countryCode: 'GB' },
      paymentMethod: 'sandbox_ok',
      submit: true,
    });
    expect(status).toBe(202);
    await shop.settled();
    expect((await customer.get(`/v1/orders/${body.id}`)).body).toMatchObject({ paymentStatus: 'paid' });
  });

  it('rebuilds a view, and others who may read it still may', async () => {
    await owner.query(
      `create role reporting_${process.pid}; grant select on orders.orders_view to reporting_${process.pid}`,
    );
    const before = await rights();
    const rows = async () => (await owner.query('select * from orders.orders_view order by id')).rows;
    const view = await rows();
    const oid = async () =>
      (await owner.query(`select 'orders.orders_view'::regclass::oid as oid`)).rows[0].oid as number;
    const old = await oid();
    const { status } = await shop.admin.post('/v1/operations/subscriptions/orders.order-details/rebuild');
    expect(status).toBe(202);
    await eventually(async () => (await oid()) !== old);
    expect(await rows()).toEqual(view);
    expect(await rights()).toEqual(before);
    await owner.query(`drop owned by reporting_${process.pid}; drop role reporting_${process.pid}`);
  });

  it('gets back at the next start what it lacks, and loses what it should not have', async () => {
    const before = await rights();
    await owner.query(
      `grant insert, truncate on event_store.events to orderloom_app; revoke delete on orders.orders_view from orderloom_app;
       create schema later; create table later.things (n int generated always as identity)`,
    );
    const appUrl = await grantedUrl(shop.databaseUrl);
    await intruder.query('insert into later.things default values');
    await owner.query('drop schema later cascade');
    expect(await rights()).toEqual(before);

    const catalogue = async () => {
      const versions = ['pg_class', 'pg_namespace', 'pg_proc', 'pg_auth_members'].map(
        (table) => `select '${table}' || oid as row, xmin::text from ${table}`,
      );
      return (await owner.query(`${versions.join(' union all ')} order by 1`)).rows;
    };
    const unchanged = await catalogue();
    await grantApplication(shop.databaseUrl, appUrl);
    expect(await catalogue()).toEqual(unchanged);
  });

  it('takes no lease over whose session it cannot see, being of another role, until it has run out', async () => {
    await owner.query(
      `insert into subscriptions.checkpoints (name, kind, owner, backend_pid, backend_start, lease_until)
       select 'test.foreign', 'reaction', gen_random_uuid(), pid, backend_start, clock_timestamp() + interval '1 h'
       from pg_stat_activity where pid = pg_backend_pid()`,
    );
    const claimed: string[] = [];
    const leases = new Leases(await grantedUrl(shop.databaseUrl));
    const knowledge = { version: 1, events: {} };
    const holder = {
      name: 'test.foreign',
      segment: 0,
      ...knowledge,
      claimed: () => claimed.push('claimed'),
      lost: () => undefined,
    };
    await leases.start([holder]);
    expect(claimed).toEqual([]);
    await owner.query(
      `update subscriptions.checkpoints set lease_until = clock_timestamp() where name = 'test.foreign'`,
    );
    await eventually(() => claimed.length === 1);
    await leases.stop();
    await owner.query(`delete from subscriptions.checkpoints where name = 'test.foreign'`);
  });
});
