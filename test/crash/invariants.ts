import { Client } from 'pg';
import type { PoolClient } from 'pg';
import type { StoredEvent } from '../../src/kernel/event-store/event';
import { SagaInstancesProjection } from '../../src/kernel/sagas/saga-instances';
import type { Projection } from '../../src/kernel/subscriptions/projection';
import { OrderDetailsProjection } from '../../src/modules/orders/views/order-details';
import { OrderTimelineProjection } from '../../src/modules/orders/views/order-timeline';
import { PaymentsProjection } from '../../src/modules/payments/payments-view';

export interface Violation {
  readonly invariant: string;
  readonly detail: string;
}

/** What the clients remember: what they asked for, and what they were told. */
export interface Books {
  /** References of all orders that were asked for, answered or not. */
  readonly attempted: ReadonlySet<string>;
  /** Id by reference of those that were acknowledged; `submitted` tells whether their submission was, too. */
  readonly orders: ReadonlyMap<string, { readonly id: string; readonly submitted: boolean; readonly lines: number }>;
  /** References of those that were refused for good. */
  readonly refused: ReadonlySet<string>;
  /** Ids of orders whose cancellation was acknowledged. */
  readonly cancelled: ReadonlySet<string>;
  /** Ids of shipments whose dispatch was acknowledged. */
  readonly dispatched: ReadonlySet<string>;
  /** Stock adjustments by their reason, which is unique to each. */
  readonly adjusted: ReadonlyMap<string, { readonly delta: number; readonly acknowledged: boolean }>;
}

/**
 * Statements about what is stored once everything has come to rest. Each selects what contradicts it, as `detail`;
 * they read the log, the provider's books and the modules' tables side by side, and share no code with the app.
 */
const statements: Readonly<Record<string, string>> = {
  'log positions are 1..n': `
    select format('position %s comes after %s', position, before) as detail
    from (select position, lag(position, 1, 0::bigint) over (order by position) as before from event_store.events) e
    where position <> before + 1`,
  'stream versions are 1..n': `
    select format('%s %s: version %s comes after %s', aggregate_type, aggregate_id, version, before) as detail
    from (select aggregate_type, aggregate_id, version,
                 lag(version, 1, 0) over (partition by aggregate_id order by position) as before
          from event_store.events) e
    where version <> before + 1`,
  'an aggregate is of one type': `
    select format('%s is %s', aggregate_id, string_agg(distinct aggregate_type, ' and ')) as detail
    from event_store.events group by aggregate_id having count(distinct aggregate_type) > 1`,
  'a command is appended once': `
    select format('command %s of %s: %s appends', metadata ->> 'commandId', min(event_type), count(distinct recorded_at)) as detail
    from event_store.events group by metadata ->> 'commandId'
    having count(distinct recorded_at) > 1 or count(distinct aggregate_id) > 1
        or count(*) filter (where event_id::text = metadata ->> 'commandId') <> 1`,
  'nothing happens twice': `
    select format('%s %s: %s x %s', aggregate_type, aggregate_id, what, count(*)) as detail
    from (select aggregate_type, aggregate_id,
                 concat_ws(' ', event_type, payload ->> 'step', payload ->> 'attempt', payload -> 'line' ->> 'lineId') as what,
                 -- after a cancellation was rejected, what follows may follow again
                 (select count(*) from event_store.events r where r.aggregate_id = e.aggregate_id and r.version < e.version
                    and (r.event_type = 'order.cancellation-rejected'
                      or r.event_type = 'saga.resolved' and r.payload ->> 'resolution' = 'reject')) as rejected
          from event_store.events e
          where event_type ~ '^(order|payment|shipment)\\.' or event_type ~ '^stock\\.(reserved|released|committed)$'
             or event_type ~ '^saga\\.(started|step-started|step-completed|cancel-requested|completed|compensated)$'
             or event_type ~ '^saga\\.(compensation-started|compensation-completed)$'
             or event_type in ('user.registered', 'product.created')) e
    -- a step whose answer comes from elsewhere asks again when its command was held up by the infrastructure
    where what !~ '^(order\\.(item-changed|item-removed|prices-changed|shipping-address-set|metadata-changed)|saga\\.step-started processPayment)'
    group by aggregate_type, aggregate_id, what, rejected having count(*) > 1`,

  'every saga has ended': `
    select format('saga of %s stands at %s since %s', payload ->> 'subject', event_type, recorded_at) as detail
    from (select distinct on (aggregate_id) * from event_store.events
          where aggregate_type = 'saga' order by aggregate_id, version desc) last
    where event_type not in ('saga.completed', 'saga.compensated')`,
  'every submitted order has its one saga': `
    select format('order %s has %s sagas', o.aggregate_id, count(s.position)) as detail
    from event_store.events o
    left join event_store.events s on s.event_type = 'saga.started' and s.payload ->> 'subject' = o.aggregate_id::text
    where o.event_type = 'order.submitted' group by o.aggregate_id having count(s.position) <> 1`,
  'a completed saga has completed its steps': `
    select format('saga of %s: %s was begun only', b.payload ->> 'subject', b.payload ->> 'step') as detail
    from event_store.events b
    where b.event_type = 'saga.step-started'
      and (select event_type from event_store.events l where l.aggregate_id = b.aggregate_id order by version desc limit 1)
          = 'saga.completed'
      and not exists (select from event_store.events c where c.aggregate_id = b.aggregate_id
                        and c.event_type = 'saga.step-completed' and c.payload ->> 'step' = b.payload ->> 'step')`,
  'a compensated saga has taken back every step that it completed': `
    select format('saga of %s: %s was not taken back', c.payload ->> 'subject', c.payload ->> 'step') as detail
    from event_store.events c
    where c.event_type = 'saga.step-completed'
      and exists (select from event_store.events e where e.aggregate_id = c.aggregate_id and e.event_type = 'saga.compensated')
      and not exists (select from event_store.events u where u.aggregate_id = c.aggregate_id
                        and (u.event_type = 'saga.compensation-completed'
                          or u.event_type = 'saga.resolved' and u.payload ->> 'resolution' not in ('retry', 'reject'))
                        and u.payload ->> 'step' = c.payload ->> 'step')`,
  'steps are taken back in reverse order': `
    select format('saga of %s: %s was taken back before %s', a.payload ->> 'subject', a.payload ->> 'step', b.payload ->> 'step') as detail
    from event_store.events a
    join event_store.events b on b.aggregate_id = a.aggregate_id and b.event_type = 'saga.step-completed' and b.version > a.version
    join event_store.events ua on ua.aggregate_id = a.aggregate_id and ua.event_type = 'saga.compensation-completed'
                              and ua.payload ->> 'step' = a.payload ->> 'step'
    join event_store.events ub on ub.aggregate_id = b.aggregate_id and ub.event_type = 'saga.compensation-completed'
                              and ub.payload ->> 'step' = b.payload ->> 'step'
    where a.event_type = 'saga.step-completed' and ua.version < ub.version`,

  'an order ends as its saga does': `
    select format('order %s is %s, its saga %s', o.id, o.status, o.saga) as detail from story o
    where (o.saga = 'completed') <> (o.status in ('fulfilling', 'shipped', 'delivered', 'completed'))
       or (o.saga = 'compensated') <> (o.status = 'cancelled' and o.submitted)`,
  'the provider has charged an order at most once': `
    select format('order %s was charged %s times', o.id, count(*)) as detail
    from story o join payments.sandbox_ledger l on l.charge_key = o.payment_id
    where l.kind = 'charge' and l.outcome = 'charged' group by o.id having count(*) > 1`,
  'the provider has charged nothing without an order': `
    select format('%s of %s %s for %s', l.kind, l.amount_minor, l.currency, l.charge_key) as detail
    from payments.sandbox_ledger l
    where not exists (select from story o where o.payment_id = l.charge_key and o.submitted)`,
  'a charge is for the total of its order': `
    select format('order %s over %s %s was charged %s %s', o.id, o.total, o.currency, l.amount_minor, l.currency) as detail
    from story o join payments.sandbox_ledger l on l.charge_key = o.payment_id
    where l.kind = 'charge' and (l.amount_minor, l.currency) is distinct from (o.total, o.currency)`,
  'the provider has refunded a charge at most once, and in full': `
    select format('charge %s: %s charged, %s refunded in %s parts', charge_key, charged, refunded, refunds) as detail
    from (select charge_key,
                 coalesce(sum(amount_minor) filter (where kind = 'charge' and outcome = 'charged'), 0) as charged,
                 coalesce(sum(amount_minor) filter (where kind = 'refund'), 0) as refunded,
                 count(*) filter (where kind = 'refund') as refunds
          from payments.sandbox_ledger group by charge_key) l
    where refunds > 1 or (refunds = 1 and refunded <> charged)`,
  'charges - refunds = totals of the orders that are paid and not cancelled': `
    select format('the provider holds %s, the orders say %s', held, owed) as detail
    from (select coalesce(sum(case when kind = 'refund' then -amount_minor when outcome = 'charged' then amount_minor end), 0) as held
          from payments.sandbox_ledger) l,
         (select coalesce(sum(total), 0) as owed from story where paid and status <> 'cancelled') o
    where held <> owed`,
  'of a cancelled order nothing is kept, of any other its total': `
    select format('order %s (%s) over %s: %s kept', o.id, o.status, o.total, coalesce(l.kept, 0)) as detail
    from story o
    left join (select charge_key, sum(case when kind = 'refund' then -amount_minor when outcome = 'charged' then amount_minor else 0 end) as kept
               from payments.sandbox_ledger group by charge_key) l on l.charge_key = o.payment_id
    where coalesce(l.kept, 0) <> case when o.submitted and o.status <> 'cancelled' then o.total else 0 end`,
  'a payment knows what the provider did': `
    select format('payment %s: provider %s, log %s', p.id, coalesce(l.did, 'nothing'), coalesce(p.said, 'nothing')) as detail
    from (select aggregate_id::text as id,
                 string_agg(case event_type when 'payment.completed' then 'charged' when 'payment.failed' then 'declined'
                            when 'payment.refunded' then 'refunded' end, ', ' order by version) as said,
                 -- nothing was taken, and nothing need be given back: a decline is not recorded any more
                 bool_or(event_type = 'payment.voided') as voided
          from event_store.events where aggregate_type = 'payment' group by aggregate_id) p
    left join (select charge_key, string_agg(case when kind = 'refund' then 'refunded' when outcome = 'charged' then 'charged'
                                             else 'declined' end, ', ' order by kind) as did
               from payments.sandbox_ledger group by charge_key) l on l.charge_key = p.id
    where l.did is distinct from p.said and not (p.voided and p.said is null and l.did = 'declined')`,

  'stock counters are the sums of the ledger': `
    select format('%s: %s on hand and %s reserved, ledger %s and %s', p.sku, p.on_hand, p.reserved, m.on_hand, m.reserved) as detail
    from products.products p
    left join lateral (select coalesce(sum(on_hand_delta), 0) as on_hand, coalesce(sum(reserved_delta), 0) as reserved
                       from products.stock_movements m where m.product_id = p.id) m on true
    where (p.on_hand, p.reserved) is distinct from (m.on_hand, m.reserved)`,
  'reserved is what open reservations hold': `
    select format('%s: %s reserved, %s in open reservations', p.sku, p.reserved, coalesce(r.held, 0)) as detail
    from products.products p
    left join (select l.product_id, sum(l.quantity) as held from products.reservation_lines l
               join products.reservations r on r.id = l.reservation_id where r.status = 'active' group by l.product_id) r
           on r.product_id = p.id
    where p.reserved <> coalesce(r.held, 0)`,
  'what came in is on hand or has left the house': `
    select format('%s: %s came in, %s on hand, %s left', p.sku, m.came, p.on_hand, m.gone) as detail
    from products.products p
    cross join lateral (
      select coalesce(sum((payload ->> 'delta')::int), 0) as came,
             (select coalesce(sum(l.quantity), 0) from products.reservation_lines l
              join products.reservations r on r.id = l.reservation_id
              where r.status = 'committed' and l.product_id = p.id) as gone
      from event_store.events e where e.event_type = 'stock.adjusted' and e.aggregate_id = p.id) m
    where m.came <> p.on_hand + m.gone`,
  'stock is never oversold': `
    select format('%s: %s on hand, %s reserved', sku, on_hand, reserved) as detail
    from products.products where not (0 <= reserved and reserved <= on_hand)`,
  'a reservation takes once and gives back once': `
    select format('reservation %s (%s) of %s: %s', r.id, r.status, l.quantity, coalesce(m.moves, 'no movement')) as detail
    from products.reservations r join products.reservation_lines l on l.reservation_id = r.id
    left join (select reference, product_id, string_agg(concat_ws(' ', kind, on_hand_delta, reserved_delta), ', ' order by id) as moves
               from products.stock_movements group by reference, product_id) m
           on m.reference = r.id and m.product_id = l.product_id
    where m.moves is distinct from concat_ws(', ', format('reserved 0 %s', l.quantity),
            case r.status when 'released' then format('released 0 -%s', l.quantity)
                          when 'committed' then format('committed -%s -%s', l.quantity, l.quantity) end)`,
  'an order reserves what it is about, and holds it as long as it should': `
    select format('order %s (%s) about %s: reserved %s', o.id, o.status, o.goods, coalesce(r.goods, 'nothing')) as detail
    from (select o.id, o.status, string_agg(concat(l.status, ' ', l.product_id, ' x ', l.quantity), ', ' order by l.product_id) as goods
          from story o cross join lateral (
            select line ->> 'productId' as product_id, sum((line ->> 'quantity')::int) as quantity,
                   case when o.status = 'fulfilling' then 'active' else 'committed' end as status
            from orders.orders_view v, jsonb_array_elements(v.lines) line where v.id = o.id group by 1) l
          where o.status in ('fulfilling', 'shipped', 'delivered', 'completed') group by o.id, o.status) o
    left join (select r.order_id, string_agg(concat(r.status, ' ', l.product_id, ' x ', l.quantity), ', ' order by l.product_id) as goods
               from products.reservations r join products.reservation_lines l on l.reservation_id = r.id group by r.order_id) r
           on r.order_id = o.id
    where r.goods is distinct from o.goods
    union all
    select format('order %s is cancelled, its reservation %s', o.id, r.status) from story o
    join products.reservations r on r.order_id = o.id where o.status = 'cancelled' and r.status <> 'released'`,
  'a reservation is what its stream says': `
    select format('reservation %s is %s, the log says %s', r.id, r.status, coalesce(e.last, 'nothing')) as detail
    from products.reservations r
    left join lateral (select event_type as last from event_store.events e
                       where e.aggregate_id = r.id and event_type not like 'stock.withdraw%' order by version desc limit 1) e on true
    where coalesce(e.last, 'stock.released') <> case r.status when 'active' then 'stock.reserved' else 'stock.' || r.status end`,

  'an order has at most one shipment': `
    select format('order %s has %s shipments', order_id, count(*)) as detail
    from shipping.shipments group by order_id having count(*) > 1`,
  'a shipment is what its stream says': `
    select format('shipment %s is %s, the log says %s', s.id, s.status, coalesce(e.last, 'nothing')) as detail
    from shipping.shipments s
    left join lateral (select event_type as last from event_store.events e where e.aggregate_id = s.id order by version desc limit 1) e on true
    where coalesce(e.last, 'shipment.cancelled') <> 'shipment.' || s.status`,
  'a fulfilled order has a parcel, a cancelled one has none': `
    select format('order %s is %s, its shipment %s', o.id, o.status, coalesce(s.status, 'missing')) as detail
    from story o left join shipping.shipments s on s.order_id = o.id
    where case o.status when 'cancelled' then coalesce(s.status, 'cancelled') <> 'cancelled'
                        when 'fulfilling' then s.status is distinct from 'created'
                        when 'shipped' then s.status is distinct from 'dispatched'
                        when 'completed' then s.status is distinct from 'delivered'
                        else s.id is not null end`,

  'orders_view shows each order as it stands in the log': `
    select format('order %s is %s, version %s, total %s; the view says %s', o.id, o.status, o.version, o.total,
                  coalesce(concat_ws(', ', v.status, v.version, v.total_minor), 'nothing')) as detail
    from story o full join orders.orders_view v on v.id = o.id
    where (o.id, o.status, o.version) is distinct from (v.id, v.status, v.version)
       or (o.submitted and o.total <> v.total_minor)`,
  'nothing is a dead letter': `
    select format('%s at %s for %s: %s', event_type, position, subscription, left(error, 300)) as detail
    from subscriptions.dead_letters where state in ('failed', 'parked')`,
};

/** One row an order: what the log says became of it. */
const story = `
  create or replace temporary view story as
  select o.aggregate_id as id, o.version, o.submitted, o.paid, s.total, s.currency, p.aggregate_id::text as payment_id,
         case o.last when 'created' then 'draft' else o.last end as status,
         (select split_part(e.event_type, '.', 2) from event_store.events e where e.aggregate_id = saga.aggregate_id
          order by e.version desc limit 1) as saga
  from (select aggregate_id, max(version) as version,
               bool_or(event_type = 'order.submitted') as submitted, bool_or(event_type = 'order.paid') as paid,
               (array_agg(substr(event_type, 7) order by version desc)
                filter (where event_type !~ '^order\\.(item-|prices-|shipping-|metadata-|cancellation-)'))[1] as last
        from event_store.events where aggregate_type = 'order' group by aggregate_id) o
  left join lateral (select (payload ->> 'totalMinor')::bigint as total, payload ->> 'currency' as currency
                     from event_store.events e where e.aggregate_id = o.aggregate_id and e.event_type = 'order.submitted'
                     limit 1) s on true
  left join (select aggregate_id, payload ->> 'orderId' as order_id from event_store.events
             where event_type = 'payment.requested') p on p.order_id = o.aggregate_id::text
  left join (select aggregate_id, payload ->> 'subject' as order_id from event_store.events
             where event_type = 'saga.started') saga on saga.order_id = o.aggregate_id::text`;

const views: readonly { readonly table: string; readonly key: string; readonly projection: () => Projection }[] = [
  { table: 'orders.orders_view', key: 'id', projection: () => new OrderDetailsProjection() },
  { table: 'orders.timeline', key: 'position', projection: () => new OrderTimelineProjection() },
  { table: 'payments.payments_view', key: 'id', projection: () => new PaymentsProjection() },
  { table: 'sagas.instances', key: 'id', projection: () => new SagaInstancesProjection() },
];

/** Checks a database at rest: nothing in flight, no subscription behind. Reads only. */
export async function checkInvariants(url: string, books?: Books): Promise<Violation[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await violations(client, books);
  } finally {
    await client.end();
  }
}

/** As {@link checkInvariants}, on a connection that may be in a transaction. */
export async function violations(client: Client, books?: Books): Promise<Violation[]> {
  const found: Violation[] = [];
  await client.query(story);
  for (const [invariant, text] of Object.entries(statements)) {
    const { rows } = await client.query<{ detail: string }>(`${text} limit 20`);
    found.push(...rows.map(({ detail }) => ({ invariant, detail })));
  }
  const log = await readLog(client);
  for (const view of views) found.push(...(await differences(client, view, log)));
  if (books) found.push(...(await broken(client, books)));
  return found;
}

async function readLog(client: Client): Promise<StoredEvent[]> {
  const { rows } = await client.query<StoredEvent>(
    `select event_id as id, aggregate_id as "aggregateId", aggregate_type as "aggregateType", event_type as "eventType",
            payload, recorded_at as timestamp, version, position::float8 as position,
            schema_version as "schemaVersion", metadata
     from event_store.events order by position`,
  );
  return rows;
}

/** The view as a rebuild from the whole log would make it, against the view as it is, row by row. */
async function differences(
  client: Client,
  { table, key, projection }: (typeof views)[number],
  log: readonly StoredEvent[],
): Promise<Violation[]> {
  const fold = projection();
  const expected = await folded(
    fold,
    log.filter((event) => fold.eventTypes.includes(event.eventType)),
  );
  const { rows } = await client.query<{ key: string; expected: object | null; found: object | null }>(
    `select coalesce(e.${key}, v.${key})::text as key, to_jsonb(e) as expected, to_jsonb(v) as found
     from jsonb_populate_recordset(null::${table}, $1::jsonb) e full join ${table} v on v.${key} = e.${key}
     where to_jsonb(e) is distinct from to_jsonb(v) limit 20`,
    [JSON.stringify(expected)],
  );
  return rows.map((row) => ({
    invariant: `${table} is the fold of the log`,
    detail: `${row.key}: expected ${JSON.stringify(row.expected)}, found ${JSON.stringify(row.found)}`,
  }));
}

/** What a projection writes when it is given the whole log at once and an empty table. */
async function folded(projection: Projection, events: readonly StoredEvent[]): Promise<object[]> {
  const written: object[] = [];
  const query = async ({ name, values }: { name?: string; values?: unknown[] }) => {
    const json = values?.[0];
    if (!name?.startsWith('read ') && typeof json === 'string' && json.startsWith('[')) {
      written.push(...(JSON.parse(json) as object[]));
    }
    return { rows: [] };
  };
  if (events.length > 0) await projection.project(events, { query } as unknown as PoolClient, projection.table);
  return written;
}

/** Whether what clients were told still holds, and whether nothing was done that they did not ask for. */
async function broken(client: Client, books: Books): Promise<Violation[]> {
  const found: Violation[] = [];
  const say = (invariant: string, detail: string) => found.push({ invariant, detail });
  const lost = 'no acknowledged command is lost';

  const { rows: orders } = await client.query<{ reference: string; id: string; submitted: boolean; lines: number }>(
    `select c.payload ->> 'reference' as reference, c.aggregate_id as id,
            exists (select from event_store.events s where s.aggregate_id = c.aggregate_id and s.event_type = 'order.submitted') as submitted,
            (select line_count from orders.orders_view v where v.id = c.aggregate_id) as lines
     from event_store.events c where c.event_type = 'order.created'`,
  );
  const stored = new Map(orders.map((order) => [order.reference, order]));
  for (const [reference, told] of books.orders) {
    const order = stored.get(reference);
    if (order?.id !== told.id) say(lost, `order ${told.id} (${reference}): ${order?.id ?? 'not in the log'}`);
    else if (told.submitted && !order.submitted) say(lost, `submission of order ${told.id} (${reference})`);
    else if (order.lines < told.lines) say(lost, `order ${told.id} has ${order.lines} of ${told.lines} lines`);
  }
  if (orders.length !== stored.size) {
    say('a repeated request has one effect', `${orders.length} orders for ${stored.size} requests`);
  }
  for (const { reference, id } of orders) {
    if (!books.attempted.has(reference)) say('nothing is done unasked', `order ${id} (${reference})`);
    if (books.refused.has(reference)) say('what was refused is not done', `order ${id} (${reference})`);
  }

  const { rows: done } = await client.query<{ id: string; type: string }>(
    `select aggregate_id as id, event_type as type from event_store.events
     where event_type in ('order.cancellation-requested', 'order.cancelled', 'shipment.dispatched')`,
  );
  const cancelled = new Set(done.filter(({ type }) => type !== 'shipment.dispatched').map(({ id }) => id));
  const dispatched = new Set(done.filter(({ type }) => type === 'shipment.dispatched').map(({ id }) => id));
  for (const id of books.cancelled) if (!cancelled.has(id)) say(lost, `cancellation of order ${id}`);
  for (const id of books.dispatched) if (!dispatched.has(id)) say(lost, `dispatch of shipment ${id}`);

  const { rows: adjustments } = await client.query<{ reason: string; deltas: number[] }>(
    `select reason, array_agg(on_hand_delta) as deltas from products.stock_movements
     where kind = 'adjusted' and reason <> 'demonstration stock' group by reason`,
  );
  const moved = new Map(adjustments.map(({ reason, deltas }) => [reason, deltas]));
  for (const [reason, { delta, acknowledged }] of books.adjusted) {
    const deltas = moved.get(reason) ?? [];
    if (acknowledged && deltas.length === 0) say(lost, `stock adjustment ${reason}`);
    if (deltas.length > 1) say('a repeated request has one effect', `stock adjustment ${reason} x ${deltas.length}`);
    if (deltas.some((each) => each !== delta))
      say(lost, `stock adjustment ${reason} by ${deltas.join()}, not ${delta}`);
  }
  for (const reason of moved.keys()) {
    if (!books.adjusted.has(reason)) say('nothing is done unasked', `stock adjustment ${reason}`);
  }
  return found;
}
