import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The log, and the one function that writes to it. */
export class EventStoreLog1790000000001 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create schema event_store;

      create table event_store.events (
        position       bigint      primary key,
        event_id       uuid        not null unique,
        aggregate_id   uuid        not null,
        aggregate_type text        not null,
        version        integer     not null check (version > 0),
        event_type     text        not null,
        schema_version smallint    not null check (schema_version > 0),
        payload        jsonb       not null,
        metadata       jsonb       not null,
        recorded_at    timestamptz not null,
        unique (aggregate_id, version)
      );
      comment on column event_store.events.position is 'Gapless, in commit order: assigned under the lock of append()';
      comment on column event_store.events.event_id is
        'The first event of a command has the id of the command, which makes a repeated command a unique violation';

      create function event_store.refuse_direct_write() returns trigger language plpgsql as $$
      begin
        if tg_op <> 'INSERT' or current_setting('event_store.appending', true) is distinct from 'on' then
          raise exception 'event_store.events is append-only, and event_store.append() is its only writer'
            using errcode = 'insufficient_privilege';
        end if;
        return null;
      end $$;
      create trigger refuse_direct_write
        before insert or update or delete or truncate on event_store.events
        for each statement execute function event_store.refuse_direct_write();
    `);

    // The lock is a statement of its own: under READ COMMITTED the next statement then sees all that was committed
    // while this one waited. Everything else is one set-based statement, whatever the number of commands.
    await db.query(`
      create function event_store.append(
        aggregate_ids uuid[], aggregate_types text[], expected integer[], event_counts integer[],
        event_ids uuid[], event_types text[], schema_versions smallint[], payloads jsonb[], metadatas jsonb[]
      ) returns table (status text, version integer, "position" bigint, recorded_at timestamptz)
      language plpgsql as $$
      #variable_conflict use_column
      declare
        moment timestamptz;
      begin
        perform pg_advisory_xact_lock(hashtextextended('event_store.log', 0));
        perform set_config('event_store.appending', 'on', true);
        moment := clock_timestamp();

        return query
        with command as (
          select c.nth, c.aggregate_id, c.aggregate_type, c.expected, c.events,
                 (sum(c.events) over (order by c.nth) - c.events)::integer as first
          from unnest(aggregate_ids, aggregate_types, expected, event_counts)
               with ordinality as c (aggregate_id, aggregate_type, expected, events, nth)
        ), known as (
          select c.*, coalesce(head.version, 0) as head,
                 done.aggregate_id as done_id, done.version as done_version,
                 case when done.version is not null then 'duplicate'
                      when head.aggregate_type <> c.aggregate_type then 'conflict'
                      when c.expected <> coalesce(head.version, 0) then 'conflict'
                      else 'ok' end as status
          from command c
          left join lateral (
            select e.version, e.aggregate_type from event_store.events e
            where e.aggregate_id = c.aggregate_id order by e.version desc limit 1
          ) head on true
          left join event_store.events done on done.event_id = event_ids[c.first + 1]
        ), placed as (
          select k.*, base.position + sum(case when k.status = 'ok' then k.events else 0 end)
                                      over (order by k.nth) - k.events as base
          from known k, (select coalesce(max(e.position), 0) as position from event_store.events e) base
        ), inserted as (
          insert into event_store.events
          select p.base + n, event_ids[p.first + n], p.aggregate_id, p.aggregate_type, p.head + n,
                 event_types[p.first + n], schema_versions[p.first + n],
                 payloads[p.first + n], metadatas[p.first + n], moment
          from placed p, generate_series(1, p.events) n
          where p.status = 'ok'
        )
        select p.status,
               case p.status when 'ok' then p.head + p.events when 'duplicate' then last.version else p.head end,
               case p.status when 'ok' then (p.base + p.events)::bigint when 'duplicate' then last.position end,
               moment
        from placed p
        left join lateral (
          select e.version, e.position from event_store.events e
          where p.status = 'duplicate' and e.aggregate_id = p.done_id and e.version >= p.done_version
            and e.metadata ->> 'commandId' = event_ids[p.first + 1]::text
          order by e.version desc limit 1
        ) last on true
        order by p.nth;
      end $$;
      comment on function event_store.append is
        'Per command: ok, conflict (expected version differs), duplicate (its first result). expected: null = any, 0 = no stream';
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`drop schema event_store cascade`);
  }
}
