import type { Client } from 'pg';
import { createRole, loginOf, roleExists } from './application-role';
import { connected } from './connected';

/** Written by event_store.append() and by migrations alone, both with the owner's rights. */
const readOnly = ['event_store.events', 'orderloom.migrations'];

/**
 * The statements that bring the rights of the application's role ($1) to what they should be; none when they are.
 *
 * They follow from the catalogue: the schemas that the owner owns are those that the migrations made, so a new module
 * needs no entry here. `held` is compared with `wanted`, both in alphabetical order.
 */
const corrections = `
  with app as (
    select oid, quote_ident(rolname) as name from pg_roles where rolname = $1
  ), schemas as (
    select n.oid, n.nspname, n.nspacl from pg_namespace n join pg_roles r on r.oid = n.nspowner
    where r.rolname = current_user and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'public')
  ), relations as (
    select c.relkind, c.relacl, format('%I.%I', n.nspname, c.relname) as name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and n.oid in (select oid from schemas)
  ), objects (kind, name, acl, wanted, is_public) as (
    select 'schema', quote_ident(nspname), nspacl, array['USAGE'], false from schemas
    union all
    select case relkind when 'S' then 'sequence' else 'table' end, name, relacl,
           case when relkind = 'S' then array['USAGE']
                when name = any($2) then array['SELECT']
                else array['DELETE', 'INSERT', 'SELECT', 'UPDATE'] end, false
    from relations
    union all
    select 'routine', p.oid::regprocedure::text, p.proacl,
           case when p.prorettype = 'trigger'::regtype then array[]::text[] else array['EXECUTE'] end,
           exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) where grantee = 0)
    from pg_proc p join schemas s on s.oid = p.pronamespace
    where not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
  )
  select unnest(array[
           case when is_public then format('revoke all on %s %s from public', kind, o.name) end,
           case when held <> wanted then format('revoke all on %s %s from %s', kind, o.name, app.name) end,
           case when held <> wanted and wanted <> '{}'
                then format('grant %s on %s %s to %s', array_to_string(wanted, ', '), kind, o.name, app.name) end
         ]) as statement
  from app, objects o, lateral (
    select array(select distinct privilege_type from aclexplode(o.acl) where grantee = app.oid order by 1) as held
  ) h
  union all
  select format('grant connect on database %I to %s', datname, app.name) from app, pg_database
  where datname = current_database() and not has_database_privilege(app.oid, pg_database.oid, 'CONNECT')
  union all
  select format('revoke temporary on database %I from public', datname) from pg_database
  where datname = current_database() and pg_has_role(datdba, 'USAGE')
    and exists (select from aclexplode(coalesce(datacl, acldefault('d', datdba)))
                where grantee = 0 and privilege_type = 'TEMPORARY')
  union all
  select 'revoke create on schema public from public' from pg_namespace
  where nspname = 'public' and pg_has_role(nspowner, 'USAGE')
    and exists (select from aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
                where grantee = 0 and privilege_type = 'CREATE')`;

/** Objects may be replaced by a running application between the question and the correction. */
const attempts = 3;

/**
 * Gives the application's role the rights that it needs, and no others: to read and change rows, to call functions, but
 * neither to write to the log directly nor to create, alter or drop anything. The role is created when there is none.
 * Does nothing when both URLs name one role.
 *
 * @throws DatabaseRoleError when the role is missing and the owner may not create it
 */
export async function grantApplication(ownerUrl: string, appUrl: string): Promise<void> {
  const login = loginOf(appUrl);
  if (login.role === loginOf(ownerUrl).role) return;
  await connected(ownerUrl, async (owner) => {
    if (!(await roleExists(owner, login.role))) await createRole(owner, login);
    for (let attempt = 1; ; attempt++) {
      try {
        return await correct(owner, login.role);
      } catch (error) {
        await owner.query('rollback');
        // XX000: tuple concurrently updated; 3F000, 42P01, 42883: gone in the meantime
        if (attempt === attempts || !/^(XX000|3F000|42P01|42883)$/.test(String((error as { code?: unknown }).code))) {
          throw error;
        }
      }
    }
  });
}

async function correct(owner: Client, role: string): Promise<void> {
  await owner.query('begin');
  // processes that start together take turns: two that correct one object at once would fail
  await owner.query(`select pg_advisory_xact_lock(hashtextextended('orderloom.grants', 0))`);
  const { rows } = await owner.query<{ statement: string | null }>(corrections, [role, readOnly]);
  const statements = rows.flatMap(({ statement }) => statement ?? []);
  if (statements.length > 0) await owner.query(statements.join('; '));
  await owner.query('commit');
}
