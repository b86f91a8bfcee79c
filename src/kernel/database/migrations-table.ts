import type { QueryRunner } from 'typeorm';

/**
 * Names of the migrations that were applied; undefined while the database has no table of them.
 *
 * `orderloom.migrations(name, applied_at)`, in a schema of ours: many tools keep a table `migrations` in `public`.
 */
export async function appliedMigrations(db: QueryRunner): Promise<string[] | undefined> {
  const [found] = (await db.query(`select to_regclass('orderloom.migrations') is not null as there`)) as {
    there: boolean;
  }[];
  if (!found?.there) return undefined;
  return namesOf(await db.query('select name from orderloom.migrations order by name'));
}

export async function createMigrationsTable(db: QueryRunner): Promise<void> {
  await db.query(`
    create schema if not exists orderloom;
    create table orderloom.migrations (
      name       text        primary key,
      applied_at timestamptz default now()
    );
    comment on column orderloom.migrations.applied_at is 'Null for those that were kept in public.migrations';
  `);
}

/**
 * Moves our rows out of `public.migrations`, where they were kept at first. A table of that name is ours as far as its
 * rows are: what another tool has there stays.
 *
 * @param known names of our migrations
 * @returns those that have been applied
 */
export async function adoptMigrations(db: QueryRunner, known: readonly string[]): Promise<string[]> {
  const [table] = (await db.query(
    `select c.oid from pg_class c
     join pg_attribute a on a.attrelid = c.oid and a.attname = 'name' and a.atttypid in ('text'::regtype, 'varchar'::regtype)
     where c.oid = to_regclass('public.migrations') and c.relkind = 'r' and has_table_privilege(c.oid, 'SELECT')`,
  )) as { oid: number }[];
  if (!table) return [];
  const ours = namesOf(await db.query('select name from public.migrations where name = any($1)', [known]));
  if (ours.length === 0) return [];
  await db.query('insert into orderloom.migrations (name, applied_at) select name, null from unnest($1::text[]) name', [
    ours,
  ]);
  await db.query('delete from public.migrations where name = any($1)', [ours]);
  const [left] = (await db.query('select exists (select from public.migrations) as any')) as { any: boolean }[];
  if (!left?.any) await db.query('drop table public.migrations');
  return ours;
}

const namesOf = (rows: unknown) => (rows as { name: string }[]).map(({ name }) => name);
