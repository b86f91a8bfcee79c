import type { MigrationInterface, QueryRunner } from 'typeorm';
import { SubscriptionsRebuildAsOwner1790000000041 } from './0002-rebuild-as-owner';

/**
 * Puts a rebuilt view in the place of the live one so that nobody notices: the swap gives up after 50 ms rather than make
 * readers queue behind it, and what belongs to the view apart from its rows belongs to the new table too. Whatever cannot
 * be carried over is named in the error that refuses the rebuild.
 *
 * As before, the functions confer no more than the caller has. A table with row-level security is refused for this
 * reason too: its policies would not have applied to the copy while the caller filled it.
 */
export class SubscriptionsQuietSwap1790000000051 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      alter table subscriptions.checkpoints add column error text;
      comment on column subscriptions.checkpoints.error is 'Why a rebuild failed the last time; it is tried again';

      create or replace function subscriptions.shadow_of(view regclass) returns text
      language plpgsql stable set search_path = pg_catalog, pg_temp as $$
      declare
        shadow text;
      begin
        select format('%I.%I', n.nspname, c.relname || '__rebuild') into shadow
        from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles o on o.oid = c.relowner
        where c.oid = view and c.relkind = 'r' and c.relpersistence = 'p' and o.rolname = current_user
          and has_table_privilege(session_user, c.oid, 'SELECT')
          and has_table_privilege(session_user, c.oid, 'INSERT')
          and has_table_privilege(session_user, c.oid, 'UPDATE')
          and has_table_privilege(session_user, c.oid, 'DELETE');
        if shadow is null then
          raise exception '% cannot be rebuilt: it must be a table of the owner that % may read and write',
            view, quote_ident(session_user) using errcode = 'insufficient_privilege';
        end if;
        return shadow;
      end $$;

      create function subscriptions.views_on(view regclass) returns setof regclass
      language sql stable set search_path = pg_catalog, pg_temp as $$
        select distinct c.oid::regclass
        from pg_depend d join pg_rewrite r on r.oid = d.objid join pg_class c on c.oid = r.ev_class
        where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = view
          and r.rulename = '_RETURN' and c.relkind = 'v' and c.relpersistence = 'p'
          and pg_has_role(c.relowner, 'USAGE') and has_schema_privilege(c.relnamespace, 'CREATE')
      $$;
      comment on function subscriptions.views_on is
        'SQL views that read the table directly and that the current role may replace';

      create function subscriptions.assert_rebuildable(view regclass) returns void
      language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
      declare
        obstacles text;
      begin
        with objects (class, object) as (
          -- whatever Postgres would not drop the table without, but for the views that can be made to read the new one
          select d.classid, d.objid
          from pg_class c left join pg_type t on t.oid = c.reltype, pg_depend d
          where c.oid = view and d.deptype = 'n'
            and (d.refclassid = 'pg_class'::regclass and d.refobjid = view
                 or d.refclassid = 'pg_type'::regclass and d.refobjid in (t.oid, t.typarray))
            and not exists (select from pg_attrdef a where a.oid = d.objid and a.adrelid = view)
            and not exists (select from pg_constraint k where k.oid = d.objid and k.conrelid = view)
            and not exists (select from pg_rewrite r join subscriptions.views_on(view) v on v = r.ev_class
                            where d.classid = 'pg_rewrite'::regclass and r.oid = d.objid and r.rulename = '_RETURN')
          -- and what a copy would be without
          union select 'pg_constraint'::regclass, oid from pg_constraint where conrelid = view and contype = 'f'
          union select 'pg_trigger'::regclass, oid from pg_trigger where tgrelid = view and not tgisinternal
          union select 'pg_rewrite'::regclass, oid from pg_rewrite where ev_class = view
          union select 'pg_policy'::regclass, oid from pg_policy where polrelid = view
          union select 'pg_publication_rel'::regclass, oid from pg_publication_rel where prrelid = view
          union select 'pg_class'::regclass, inhparent from pg_inherits where inhrelid = view
        ), named (name) as (
          -- a view by its own name rather than by its rule's
          select coalesce(pg_describe_object('pg_class'::regclass, r.ev_class, 0), pg_describe_object(class, object, 0))
          from objects left join pg_rewrite r on class = 'pg_rewrite'::regclass and r.oid = object and r.rulename = '_RETURN'
          union select 'row-level security' from pg_class where oid = view and relrowsecurity
        )
        select string_agg(name, ', ' order by name) into obstacles from named;
        if obstacles is not null then
          raise exception '% cannot be rebuilt: in the way is %', view, obstacles
            using errcode = 'dependent_objects_still_exist';
        end if;
      end $$;

      comment on function subscriptions.assert_rebuildable is
        'Raises an error that names what a table in the place of the view would be without';

      create function subscriptions.shape_of(relation regclass) returns text[]
      language sql stable set search_path = pg_catalog, pg_temp as $$
        select array_agg(part order by part) from (
          select format('%s %s %s %s %s %s %s', row_number() over (order by a.attnum), a.attname,
                        format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation, a.attnotnull,
                        a.attidentity::text || a.attgenerated::text, pg_get_expr(d.adbin, d.adrelid))
          from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
          where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
          union all
          select i.indisunique || substring(pg_get_indexdef(i.indexrelid) from ' USING .*')
          from pg_index i where i.indrelid = relation
          union all
          select pg_get_constraintdef(k.oid) from pg_constraint k where k.conrelid = relation and k.contype in ('c', 'p', 'u', 'x')
        ) parts (part)
      $$;
      comment on function subscriptions.shape_of is 'Columns, indexes and constraints, without the names that differ in a copy';

      create function subscriptions.storage_of(view regclass, target text) returns setof text
      language sql stable set search_path = pg_catalog, pg_temp as $$
        select format('alter table %s set (%s)', target, string_agg(format('%s%I=%L', prefix, option_name, option_value), ', '))
        from (
          select '' as prefix, reloptions from pg_class where oid = view
          union all
          select 'toast.', t.reloptions from pg_class c join pg_class t on t.oid = c.reltoastrelid where c.oid = view
        ) o, pg_options_to_table(o.reloptions)
        having count(*) > 0
        union all
        select format('alter table %s alter column %I set statistics %s', target, attname, attstattarget)
        from pg_attribute where attrelid = view and attnum > 0 and not attisdropped and attstattarget >= 0
        union all
        select format('alter table %s alter column %I set (%s)', target, attname, array_to_string(attoptions, ', '))
        from pg_attribute where attrelid = view and attnum > 0 and not attisdropped and attoptions is not null
      $$;
      comment on function subscriptions.storage_of is
        'Statements that set of TARGET what CREATE TABLE (LIKE view INCLUDING ALL) leaves out of the storage of a table';

      create function subscriptions.belongings_of(view regclass) returns setof text
      language sql stable set search_path = pg_catalog, pg_temp as $$
        with grants as (
          select a.privilege_type as privilege, '' as columns, a.grantee, a.is_grantable
          from pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a where c.oid = view
          union all
          select a.privilege_type, format(' (%I)', t.attname), a.grantee, a.is_grantable
          from pg_attribute t, aclexplode(t.attacl) a where t.attrelid = view and not t.attisdropped
        )
        select format('grant %s%s on table %s to %s%s', privilege, columns, view,
                      case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end,
                      case when is_grantable then ' with grant option' end)
        from grants
        union all
        select format('comment on %s is %L',
                      case d.objsubid when 0 then 'table ' || view else format('column %s.%I', view, a.attname) end, d.description)
        from pg_description d left join pg_attribute a on a.attrelid = d.objoid and a.attnum = nullif(d.objsubid, 0)
        where d.classoid = 'pg_class'::regclass and d.objoid = view
        union all
        select format('alter table %s replica identity %s', view, case c.relreplident
                 when 'f' then 'full' when 'n' then 'nothing' else 'using index ' || quote_ident(x.relname) end)
        from pg_class c left join pg_index i on i.indrelid = c.oid and i.indisreplident left join pg_class x on x.oid = i.indexrelid
        where c.oid = view and c.relreplident <> 'd'
        union all
        select format('alter sequence %s owned by %s.%I', d.objid::regclass, view, a.attname)
        from pg_depend d join pg_class s on s.oid = d.objid
        join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
        where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = view
          and d.deptype = 'a' and s.relkind = 'S'
        union all
        select format('create or replace view %s%s as %s', c.oid::regclass,
                      (select format(' with (%s)', string_agg(format('%I=%L', option_name, option_value), ', '))
                       from pg_options_to_table(c.reloptions) having count(*) > 0),
                      pg_get_viewdef(c.oid))
        from subscriptions.views_on(view) v join pg_class c on c.oid = v
      $$;
      comment on function subscriptions.belongings_of is
        'Statements that give another table of the same name, apart from its storage, what belongs to the view';

      create or replace function subscriptions.begin_rebuild(view regclass) returns void
      language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
      declare
        shadow text := subscriptions.shadow_of(view);
        tablespace text := (select ' tablespace ' || quote_ident(t.spcname)
                            from pg_class c join pg_tablespace t on t.oid = c.reltablespace where c.oid = view);
        statement text;
      begin
        perform subscriptions.assert_rebuildable(view);
        execute format('drop table if exists %s', shadow);
        execute format('create table %s (like %s including all)%s', shadow, view, tablespace);
        for statement in select subscriptions.storage_of(view, shadow) loop
          execute statement;
        end loop;
        execute format('grant select, insert, update, delete on table %s to %I', shadow, session_user);
      end $$;
      comment on function subscriptions.begin_rebuild is
        'Creates an empty table VIEW__rebuild like the view, for the caller alone; drops one of an earlier attempt';

      create function subscriptions.analyze_rebuild(view regclass) returns void
      language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
      begin
        execute format('analyze %s', subscriptions.shadow_of(view));
      end $$;
      comment on function subscriptions.analyze_rebuild is
        'Gathers the statistics of VIEW__rebuild, so that queries are planned as well after the swap as before';

      create or replace function subscriptions.finish_rebuild(view regclass) returns void
      language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
      declare
        shadow regclass := subscriptions.shadow_of(view);
        name text := (select c.relname from pg_class c where c.oid = view);
        statements text[];
        statement text;
        held record;
      begin
        perform subscriptions.assert_rebuildable(view);
        -- Who reads such a view locks it before the table. A change of nothing locks it; LOCK would lock all that it reads.
        for held in select v, pg_get_userbyid(c.relowner) as owner from subscriptions.views_on(view) v join pg_class c on c.oid = v loop
          execute format('alter view %s owner to %I', held.v, held.owner);
        end loop;
        execute format('lock table %s, %s in access exclusive mode', view, shadow);
        if subscriptions.shape_of(view) <> subscriptions.shape_of(shadow) then
          raise exception '% was altered after its rebuild began', view using errcode = 'invalid_table_definition';
        end if;

        statements := array(select subscriptions.storage_of(view, view::text) union all select subscriptions.belongings_of(view));
        -- the caller's own, and what default privileges gave it
        for held in
          select distinct case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end as grantee
          from pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a where c.oid = shadow
        loop
          execute format('revoke all on table %s from %s', shadow, held.grantee);
        end loop;
        for held in
          with indexes as (
            select i.indrelid, i.indexrelid, x.relname, row_number() over (
                     partition by i.indrelid, i.indisunique, i.indisprimary, substring(pg_get_indexdef(i.indexrelid) from ' USING .*')
                     order by i.indexrelid) as nth,
                   i.indisunique, i.indisprimary, substring(pg_get_indexdef(i.indexrelid) from ' USING .*') as definition
            from pg_index i join pg_class x on x.oid = i.indexrelid where i.indrelid in (view, shadow)
          )
          select o.indexrelid::regclass as old, o.relname as name, s.indexrelid::regclass as new
          from indexes o join indexes s using (nth, indisunique, indisprimary, definition)
          where o.indrelid = view and s.indrelid = shadow
        loop
          execute format('alter index %s rename to %I', held.old, 'replaced_' || held.old::oid);
          execute format('alter index %s rename to %I', held.new, held.name);
        end loop;
        execute format('alter table %s rename to %I', view, 'replaced_' || view::oid);
        execute format('alter table %s rename to %I', shadow, name);
        foreach statement in array statements loop
          execute statement;
        end loop;
        execute format('drop table %s', view);
      end $$;
      comment on function subscriptions.finish_rebuild is
        'Puts VIEW__rebuild in the place of the view, or fails when it would have to wait for more than 50 ms';

      create function subscriptions.abandon_rebuild(view regclass) returns void
      language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
      begin
        execute format('drop table if exists %s', subscriptions.shadow_of(view));
      end $$;
      comment on function subscriptions.abandon_rebuild is 'Drops VIEW__rebuild';

      revoke all on function
        subscriptions.views_on, subscriptions.assert_rebuildable, subscriptions.shape_of, subscriptions.storage_of,
        subscriptions.belongings_of, subscriptions.analyze_rebuild, subscriptions.abandon_rebuild from public;
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`
      drop function subscriptions.views_on, subscriptions.assert_rebuildable, subscriptions.shape_of, subscriptions.storage_of,
        subscriptions.belongings_of, subscriptions.analyze_rebuild, subscriptions.abandon_rebuild,
        subscriptions.begin_rebuild, subscriptions.finish_rebuild, subscriptions.shadow_of;
      alter table subscriptions.checkpoints drop column error;
    `);
    await new SubscriptionsRebuildAsOwner1790000000041().up(db);
  }
}
