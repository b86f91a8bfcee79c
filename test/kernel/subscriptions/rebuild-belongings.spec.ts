import type { Client } from 'pg';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, connect, eventually, happened, type Kernel, startKernel } from '../support';
import { Applied, applied } from './applied';
import { foldedSums, rebuilding, rebuilt, Sums, sums } from './sums';

const [reporting, auditor] = [`reporting_${process.pid}`, `auditor_${process.pid}`];

const schema = `
  create schema test_view;
  create table test_view.sums (
    id uuid constraint "Odd one" primary key, events int not null, sum int not null constraint "not negative" check (sum >= 0), note text);
  create index "By sum" on test_view.sums (sum);
  create index "By sum, too" on test_view.sums (sum);
  create table test_view.applied (nth bigserial primary key, position bigint not null, n integer not null)`;

/** What operators may have done to a view, apart from its rows. */
const belongings = `
  create role ${reporting};
  create role ${auditor};
  grant usage on schema test_view to ${reporting}, ${auditor};
  grant select on test_view.sums to ${reporting} with grant option;
  grant select (id, sum), update (sum) on test_view.sums to ${auditor};
  grant references on test_view.sums to public;
  revoke truncate on test_view.sums from current_user;
  alter default privileges in schema test_view grant select, truncate on tables to ${auditor};
  comment on table test_view.sums is 'The owner''s';
  comment on column test_view.sums.sum is 'Of n';
  comment on index test_view."By sum, too" is 'For lists';
  comment on constraint "not negative" on test_view.sums is 'They count';
  alter table test_view.sums set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, toast.autovacuum_enabled = off);
  alter table test_view.sums alter column sum set statistics 500;
  alter table test_view.sums alter column sum set (n_distinct = -0.5);
  alter table test_view.sums alter column note set storage external;
  alter table test_view.sums replica identity using index "Odd one";
  create statistics test_view.odd on id, sum from test_view.sums;

  create view test_view.top with (security_barrier) as
    select s.id, s.sum as total, row_to_json(s.*) as whole from test_view.sums s where s.sum > 1 with cascaded check option;
  comment on view test_view.top is 'The best';
  comment on column test_view.top.total is 'Of the best';
  grant select (total) on test_view.top to ${reporting};
  alter view test_view.top alter column total set default 7;
  create view test_view.top_of_top (ident) as select t.id from test_view.top t join test_view.sums s using (id);
  grant select on test_view.top_of_top to ${auditor};
  alter view test_view.top_of_top owner to ${auditor}`;

/** All that the catalogue says of the relations in the schema, by name. */
const catalogue = `
  select c.oid::regclass::text as relation, c.relkind, c.relowner::regrole::text as owner, c.reloptions, c.relreplident,
         t.reloptions as toast, obj_description(c.oid, 'pg_class') as comment, pg_get_viewdef(c.oid) as definition,
         array(select acl::text from aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) acl order by 1) as acl,
         array(select to_jsonb(a) || jsonb_build_object('attrelid', 0, 'attacl', a.attacl::text,
                        'description', col_description(c.oid, a.attnum), 'default', pg_get_expr(d.adbin, d.adrelid))
               from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
               where a.attrelid = c.oid and a.attnum > 0 order by a.attnum) as columns,
         array(select format('%s %s %s', pg_get_constraintdef(k.oid), k.conname, obj_description(k.oid, 'pg_constraint'))
               from pg_constraint k where k.conrelid = c.oid order by 1) as constraints,
         array(select format('%s %s', pg_get_indexdef(i.indexrelid), obj_description(i.indexrelid, 'pg_class'))
               from pg_index i where i.indrelid = c.oid order by 1) as indexes,
         array(select s.stxkeys::text || s.stxkind::text from pg_statistic_ext s where s.stxrelid = c.oid) as statistics
  from pg_class c left join pg_class t on t.oid = c.reltoastrelid
  where c.relnamespace = 'test_view'::regnamespace and c.relkind in ('r', 'v', 'S', 'm') order by 1`;

/** What cannot be carried over, how to get rid of it, and how the error names it. */
const obstacles: readonly (readonly [what: string, create: string, drop: string, name: RegExp])[] = [
  [
    'a materialized view',
    'create materialized view test_view.kept as select * from test_view.sums',
    'drop materialized view test_view.kept',
    /materialized view test_view\.kept/,
  ],
  [
    'a foreign key to it',
    'create table test_view.other (id uuid references test_view.sums)',
    'drop table test_view.other',
    /constraint other_id_fkey on table test_view\.other/,
  ],
  [
    'a foreign key of its own',
    `create table test_view.other (id uuid primary key);
     alter table test_view.sums add constraint of_its_own foreign key (id) references test_view.other not valid`,
    'alter table test_view.sums drop constraint of_its_own; drop table test_view.other',
    /constraint of_its_own on table test_view\.sums/,
  ],
  [
    'a trigger',
    `create function test_view.nothing() returns trigger language plpgsql as 'begin return null; end';
     create trigger watch after insert on test_view.sums execute function test_view.nothing()`,
    'drop function test_view.nothing cascade',
    /trigger watch on table test_view\.sums/,
  ],
  [
    'a rule',
    'create rule quiet as on delete to test_view.sums do instead nothing',
    'drop rule quiet on test_view.sums',
    /rule quiet on table test_view\.sums/,
  ],
  [
    'a policy',
    'create policy mine on test_view.sums using (true); alter table test_view.sums enable row level security',
    'drop policy mine on test_view.sums; alter table test_view.sums disable row level security',
    /policy mine on table test_view\.sums, row-level security/,
  ],
  [
    'a publication',
    'create publication news for table test_view.sums',
    'drop publication news',
    /publication of table test_view\.sums in publication news/,
  ],
  [
    'a function of its row type',
    `create function test_view.of_row(test_view.sums) returns int language sql as 'select 1'`,
    'drop function test_view.of_row',
    /function test_view\.of_row\(test_view\.sums\)/,
  ],
  [
    'a child',
    'create table test_view.child () inherits (test_view.sums)',
    'drop table test_view.child',
    /table test_view\.child/,
  ],
];

describe('what belongs to a view', () => {
  let db: TestDatabase;
  let tester: Client;
  let kernel: Kernel;

  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
    await tester.query(schema);
    kernel = await startKernel(db.url, [Sums, Applied], { maxBackoffMs: 200 });
    await tester.query(belongings);
    await kernel.store.append(aThing(), [happened(1), happened(2)]);
    await kernel.subscriptions.idle();
  });
  afterAll(async () => {
    await kernel.close();
    await tester.end();
    await db.drop();
    const admin = await connect(process.env['TEST_POSTGRES_URL']!);
    await admin.query(`drop role if exists ${reporting}, ${auditor}`);
    await admin.end();
  });

  const described = async () => (await tester.query<{ relation: string }>(catalogue)).rows;

  it('belongs to the one that was built anew: grants, comments, storage, names, and the views that read it', async () => {
    const before = await described();
    await tester.query('update test_view.sums set sum = 0');
    await kernel.subscriptions.rebuild('test.sums');
    await rebuilt(kernel);
    expect(await described()).toEqual(before);
    expect(await sums(tester)).toMatchObject(await foldedSums(tester));
    const { rows } = await tester.query(
      'select total, (select count(*)::int from test_view.top_of_top) from test_view.top',
    );
    expect(rows).toEqual([{ total: 3, count: 1 }]);
  });

  it('is what it is at the swap, not what it was when the rebuild began', async () => {
    const report = await connect(db.url);
    await report.query('begin');
    await report.query('select from test_view.sums');
    await kernel.subscriptions.rebuild('test.sums');
    await eventually(async () => (await rebuilding(kernel))?.lag === 0);
    await tester.query(`
      revoke all on test_view.sums from ${reporting};
      grant delete on test_view.sums to ${auditor};
      comment on table test_view.sums is null`);
    const before = (await described()).filter(({ relation }) => !relation.endsWith('__rebuild'));
    await report.query('commit');
    await report.end();
    await rebuilt(kernel);
    expect(await described()).toEqual(before);
  });

  it('may be the sequence that numbers its rows', async () => {
    const before = await described();
    await kernel.subscriptions.rebuild('test.applied');
    await eventually(
      async () => !(await kernel.subscriptions.status()).some(({ name }) => name === 'test.applied/rebuild'),
    );
    await kernel.store.append(aThing(), [happened(3)]);
    await kernel.subscriptions.idle();
    expect((await applied(tester)).map(({ n }) => n)).toEqual([1, 2, 3]);
    expect(await described()).toEqual(before);
  });

  it('does not include what a later migration made of the table: the rebuild begins anew', async () => {
    const report = await connect(db.url);
    await report.query('begin');
    await report.query('select from test_view.sums');
    await kernel.subscriptions.rebuild('test.sums');
    await eventually(async () => (await rebuilding(kernel))?.lag === 0);
    await report.query(
      'alter table test_view.sums add column later int; create index later on test_view.sums (events)',
    );
    await report.query('commit');
    await report.end();
    const before = (await described()).filter(({ relation }) => !relation.endsWith('__rebuild'));
    await rebuilt(kernel);
    expect(await described()).toEqual(before);
    expect(await sums(tester)).toMatchObject(await foldedSums(tester));
  });

  it.each(obstacles)(
    'that cannot be carried over, such as %s, is named, and the view stays as it is',
    async (_, create, drop, name) => {
      await tester.query(create);
      const before = await described();
      await kernel.subscriptions.rebuild('test.sums');
      await eventually(async () => name.test((await rebuilding(kernel))?.error ?? ''));
      expect(await described()).toEqual(before);
      await tester.query(drop);
      await rebuilt(kernel);
      expect(await sums(tester)).toMatchObject(await foldedSums(tester));
    },
  );
});
