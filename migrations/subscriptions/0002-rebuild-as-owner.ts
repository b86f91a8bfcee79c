import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * A rebuild creates a table beside the live view and later puts it in the place of the view. Both need the rights of the
 * owner, which these functions lend to the application's role for exactly that.
 *
 * They confer no more than the caller has: a view may be rebuilt by a role that may insert, update and delete all its
 * rows, and only if the copy is as good as the original. Foreign keys and triggers would be lost, so a table that has any
 * is refused. The log is refused because the application's role may not write to it.
 */
export class SubscriptionsRebuildAsOwner1790000000041 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create function subscriptions.shadow_of(view regclass) returns text
      language plpgsql stable set search_path = pg_catalog, pg_temp as $$
      declare
        shadow text;
      begin
        select format('%I.%I', n.nspname, c.relname || '__rebuild') into shadow
        from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles o on o.oid = c.relowner
        where c.oid = view and c.relkind = 'r' and c.relpersistence = 'p' and o.rolname = current_user
          and has_table_privilege(session_user, c.oid, 'INSERT')
          and has_table_privilege(session_user, c.oid, 'UPDATE')
          and has_table_privilege(session_user, c.oid, 'DELETE')
          and not exists (select from pg_constraint k where k.conrelid = c.oid and k.contype = 'f')
          and not exists (select from pg_trigger t where t.tgrelid = c.oid);
        if shadow is null then
          raise exception '% cannot be rebuilt: it must be a table of the owner, without foreign keys and triggers, that % may write to',
            view, quote_ident(session_user) using errcode = 'insufficient_privilege';
        end if;
        return shadow;
      end $$;

      create function subscriptions.begin_rebuild(view regclass) returns void
      language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
      declare
        shadow text := subscriptions.shadow_of(view);
        held record;
      begin
        execute format('drop table if exists %s', shadow);
        execute format('create table %s (like %s including all)', shadow, view);
        for held in
          select a.privilege_type, case a.grantee when 0 then 'public' else quote_ident(r.rolname) end as grantee
          from pg_class c, aclexplode(c.relacl) a left join pg_roles r on r.oid = a.grantee
          where c.oid = view and a.grantee <> c.relowner
        loop
          execute format('grant %s on table %s to %s', held.privilege_type, shadow, held.grantee);
        end loop;
      end $$;
      comment on function subscriptions.begin_rebuild is
        'Creates an empty table VIEW__rebuild like the view, with the same grants; drops one of an earlier attempt';

      create function subscriptions.finish_rebuild(view regclass) returns void
      language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
      declare
        shadow text := subscriptions.shadow_of(view);
        name text := (select c.relname from pg_class c where c.oid = view);
      begin
        execute format('drop table %s', view);
        execute format('alter table %s rename to %I', shadow, name);
      end $$;
      comment on function subscriptions.finish_rebuild is 'Puts VIEW__rebuild in the place of the view';

      revoke all on function
        subscriptions.shadow_of, subscriptions.begin_rebuild, subscriptions.finish_rebuild from public;
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`drop function subscriptions.begin_rebuild, subscriptions.finish_rebuild, subscriptions.shadow_of`);
  }
}
