import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * append() refuses what follows from an event that the log does not have (`orphan`). After a failover that lost the newest
 * events, handlers that still had one of them in hand would append to streams of orders that do not exist any more.
 */
export class EventStoreCauses1790000000081 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create or replace function event_store.append(
        aggregate_ids uuid[], aggregate_types text[], expected integer[], event_counts integer[],
        event_ids uuid[], event_types text[], schema_versions smallint[], payloads jsonb[], metadatas jsonb[]
      ) returns table (status text, version integer, "position" bigint, recorded_at timestamptz)
      language plpgsql
      security definer set search_path = pg_catalog, pg_temp
      set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
      as $$
      #variable_conflict use_column
      declare
        moment timestamptz;
      begin
        perform pg_advisory_xact_lock(hashtextextended('event_store.log', 0));
        perform set_config('event_store.appending', 'on', true);
        moment := clock_timestamp();

        return query
        with numbered as (
          select c.nth, c.aggregate_id, c.aggregate_type, c.expected, c.events,
                 (sum(c.events) over (order by c.nth) - c.events)::integer as first
          from unnest(aggregate_ids, aggregate_types, expected, event_counts)
               with ordinality as c (aggregate_id, aggregate_type, expected, events, nth)
        ), command as (
          select c.*, (metadatas[c.first + 1] ->> 'causationId')::uuid as cause from numbered c
        ), known as (
          select c.*, coalesce(head.version, 0) as head,
                 done.aggregate_id as done_id, done.version as done_version,
                 case when done.version is not null then 'duplicate'
                      when c.cause is not null and cause.event_id is null then 'orphan'
                      when head.aggregate_type <> c.aggregate_type then 'conflict'
                      when c.expected <> coalesce(head.version, 0) then 'conflict'
                      else 'ok' end as status
          from command c
          left join lateral (
            select e.version, e.aggregate_type from event_store.events e
            where e.aggregate_id = c.aggregate_id order by e.version desc limit 1
          ) head on true
          left join event_store.events done on done.event_id = event_ids[c.first + 1]
          left join event_store.events cause on cause.event_id = c.cause
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

        perform set_config('event_store.appending', 'off', true);
      end $$;
    `);
  }

  /** The one before did the same, without looking for the cause. */
  async down(): Promise<void> {}
}
