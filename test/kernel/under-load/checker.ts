import type { Client } from 'pg';
import type { Violation } from '../child';

const things = `(select * from event_store.events where aggregate_type = 'thing')`;

const deliveriesOf = (view: string): Record<string, string> => ({
  [`${view} was told every event once, and nothing else`]: `
    select format('version %s of %s at %s: %s in the log, %s in the view', version, aggregate_id, position,
                  case when stands then 'once' else 'not' end, coalesce(times, 0)) as detail
    from (select position, aggregate_id, version, true as stands from ${things} e) e
    full join (select position, aggregate_id, version, count(*) as times from ${view} group by 1, 2, 3) v
         using (position, aggregate_id, version)
    where stands is null or times is distinct from 1`,
  [`${view} was told the events of each aggregate in order`]: `
    select format('version %s of %s came after version %s', version, aggregate_id, before) as detail
    from (select aggregate_id, version, lag(version, 1, 0) over (partition by aggregate_id order by nth) as before from ${view}) v
    where version <= before`,
});

/**
 * Statements about what is stored once everything has come to rest: the log, the books of those who wrote to it, and
 * what its readers were told. Each selects what contradicts it.
 */
const statements: Readonly<Record<string, string>> = {
  'log positions are 1..n': `
    select format('position %s comes after %s', position, before) as detail
    from (select position, lag(position, 1, 0::bigint) over (order by position) as before from event_store.events) e
    where position <> before + 1`,
  'stream versions are 1..n, in the order of the log': `
    select format('%s: version %s comes after %s', aggregate_id, version, before) as detail
    from (select aggregate_id, version, lag(version, 1, 0) over (partition by aggregate_id order by position) as before
          from event_store.events) e
    where version <> before + 1`,
  'no acknowledged command is lost': `
    select format('command %s for %s: told version %s at %s, stored are %s events up to version %s at %s', b.command,
                  b.aggregate_id, b.version, b.position, coalesce(e.events, 0), e.version, e.position) as detail
    from books.commands b
    left join (select payload ->> 'command' as command, aggregate_id, count(*) as events, max(version) as version,
                      max(position) as position from ${things} e group by 1, 2) e
         on e.command = b.command::text and e.aggregate_id = b.aggregate_id
    where (e.events, e.version, e.position) is distinct from (b.events::bigint, b.version, b.position)`,
  'no command is appended twice': `
    select format('command %s of %s events: %s stored', payload ->> 'command', max(payload ->> 'total'), count(*)) as detail
    from ${things} e group by payload ->> 'command'
    having count(*) <> max((payload ->> 'total')::int) or count(distinct recorded_at) > 1`,
  'nothing is done unasked': `
    select format('command %s was %s', e.command, case when r.command is null then 'not asked for' else 'refused' end) as detail
    from (select distinct payload ->> 'command' as command from ${things} e) e
    left join books.commands b on b.command::text = e.command
    left join books.refused r on r.command::text = e.command
    where b.command is null or r.command is not null`,
  'rows and events are committed together': `
    select format('command %s has %s', coalesce(r.command::text, e.command), case when r.command is null then 'no row' else 'no event' end) as detail
    from books.rows r
    full join (select distinct payload ->> 'command' as command from ${things} e where payload ->> 'withRow' = 'true') e
         on e.command = r.command::text
    where r.command is null or e.command is null`,
  ...deliveriesOf('views.counted'),
  ...deliveriesOf('views.shared'),
  'views.counted was told the log in its order': `
    select format('position %s came after %s', position, before) as detail
    from (select position, lag(position, 1, 0::bigint) over (order by nth) as before from views.counted) v
    where position <= before`,
  'views.folded is the fold of the log': `
    select format('%s has %s events and version %s, in the view %s and %s, %s of them out of order', coalesce(e.id, v.id),
                  e.events, e.version, v.events, v.version, v.disorder) as detail
    from (select aggregate_id as id, count(*) as events, max(version) as version from ${things} e group by 1) e
    full join views.folded v using (id)
    where (e.events, e.version, 0) is distinct from (v.events::bigint, v.version, v.disorder)`,
  'every reaction takes effect once': `
    select format('event %s of command %s has %s effects', coalesce(n.nth, h.nth), coalesce(n.command, h.command), coalesce(h.times, 0)) as detail
    from (select payload ->> 'command' as command, payload ->> 'nth' as nth from ${things} e where event_type = 'thing.noted') n
    full join (select payload ->> 'command' as command, payload ->> 'nth' as nth, count(*) as times
               from event_store.events where event_type = 'echo.heard' group by 1, 2) h using (command, nth)
    where n.command is null or h.times is distinct from 1`,
  'effects come in the order of their causes': `
    select format('in %s the echo of %s comes after that of %s', stream, position, before) as detail
    from (select h.aggregate_id as stream, n.position,
                 lag(n.position, 1, 0::bigint) over (partition by h.aggregate_id order by h.version) as before
          from event_store.events h
          join ${things} n on n.event_type = 'thing.noted' and n.payload ->> 'command' = h.payload ->> 'command'
                          and n.payload ->> 'nth' = h.payload ->> 'nth'
          where h.event_type = 'echo.heard') e
    where position <= before`,
  'nothing is a dead letter': `
    select format('%s: %s at %s: %s', subscription, event_type, position, left(error, 300)) as detail
    from subscriptions.dead_letters`,
};

/** Whatever contradicts the statements, with an example or two of each. */
export async function check(tester: Client): Promise<Violation[]> {
  const found: Violation[] = [];
  // whole tables are compared: in memory, and not row by row
  await tester.query(`analyze; set enable_nestloop = off; set work_mem = '256MB'`);
  for (const [invariant, statement] of Object.entries(statements)) {
    const { rows } = await tester.query<{ detail: string }>(`${statement} limit 3`);
    for (const { detail } of rows) found.push({ invariant, detail });
  }
  return found;
}
