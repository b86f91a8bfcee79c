import { Client } from 'pg';
import { type Books, violations } from '../crash/invariants';
import { startApp, type TestApp } from '../support/app';

const tea = '00000000-0000-7000-8000-000000000001';
const pot = '00000000-0000-7000-8000-000000000003';

/** A log that takes what it is given: the append-only trigger and the constraints that keep us from lying are off. */
const defenceless = `
  alter table event_store.events disable trigger all;
  alter table event_store.events drop constraint events_pkey, drop constraint events_event_id_key,
    drop constraint events_aggregate_id_version_key, drop constraint events_version_check;`;
/** An event once more, as a handler without idempotency would append it. */
const again = (type: string) => `${defenceless}
  insert into event_store.events
  select (select max(position) + 1 from event_store.events), gen_random_uuid(), e.aggregate_id, e.aggregate_type,
         (select max(version) + 1 from event_store.events v where v.aggregate_id = e.aggregate_id), e.event_type,
         e.schema_version, e.payload, e.metadata || jsonb_build_object('commandId', gen_random_uuid()), clock_timestamp()
  from event_store.events e where e.event_type = '${type}' order by position limit 1;`;
const forget = (type: string) => `${defenceless} delete from event_store.events where ctid in
  (select ctid from event_store.events where event_type = '${type}' order by position desc limit 1);`;
const one = (table: string, condition = 'true') => `(select ctid from ${table} where ${condition} limit 1)`;

const move = (delta: number) => `insert into products.stock_movements
  (product_id, kind, on_hand_delta, reserved_delta, reference) values ('${tea}', 'adjusted', ${delta}, 0, gen_random_uuid())`;

/** What a bug might do to the data, and which invariant has to notice. */
const planted: readonly (readonly [what: string, statement: string, invariant: string])[] = [
  ['an event is missing', forget('order.paid'), 'log positions are 1..n'],
  ['an event of a stream is missing', forget('order.paid'), 'stream versions are 1..n'],
  [
    'positions have a gap',
    `${defenceless} update event_store.events set position = position + 1 where position > 9`,
    'log positions are 1..n',
  ],
  [
    'a position is given twice',
    `${defenceless} update event_store.events set position = 9 where position = 10`,
    'log positions are 1..n',
  ],
  ['an order is paid twice', again('order.paid'), 'nothing happens twice'],
  ['a step is carried out twice', again('saga.step-completed'), 'nothing happens twice'],
  ['a compensation takes effect twice', again('saga.compensation-completed'), 'nothing happens twice'],
  [
    'a saga never ends',
    `${defenceless} delete from event_store.events e where event_type = 'saga.completed' and not exists
     (select from event_store.events c where c.aggregate_id = e.aggregate_id and c.event_type = 'saga.compensated')`,
    'every saga has ended',
  ],
  [
    'a submitted order is never taken up',
    `${defenceless} delete from event_store.events where aggregate_id =
     (select aggregate_id from event_store.events where event_type = 'saga.completed' limit 1)`,
    'every submitted order has its one saga',
  ],
  [
    'a step is not taken back',
    forget('saga.compensation-completed'),
    'a compensated saga has taken back every step that it completed',
  ],
  ['a cancelled order stays open', forget('order.cancelled'), 'an order ends as its saga does'],
  [
    'a card is charged twice',
    `insert into payments.sandbox_ledger select key || '/2', kind, charge_key, outcome, amount_minor,
     currency, reference || '/2', at from payments.sandbox_ledger where outcome = 'charged' limit 1`,
    'the provider has charged an order at most once',
  ],
  [
    'a card is charged for nothing',
    `insert into payments.sandbox_ledger (key, kind, charge_key, outcome, amount_minor, currency, reference)
     values ('x', 'charge', 'x', 'charged', 100, 'EUR', 'x')`,
    'the provider has charged nothing without an order',
  ],
  [
    'too much is charged',
    `update payments.sandbox_ledger set amount_minor = amount_minor + 1 where ctid = ${one('payments.sandbox_ledger', `outcome = 'charged'`)}`,
    'a charge is for the total of its order',
  ],
  [
    'money is given back twice',
    `insert into payments.sandbox_ledger select key || '/2', kind, charge_key, outcome, amount_minor,
     currency, reference || '/2', at from payments.sandbox_ledger where kind = 'refund' limit 1`,
    'the provider has refunded a charge at most once, and in full',
  ],
  [
    'money is not given back',
    `delete from payments.sandbox_ledger where kind = 'refund'`,
    'of a cancelled order nothing is kept, of any other its total',
  ],
  [
    'the sums differ',
    `delete from payments.sandbox_ledger where kind = 'refund'`,
    'charges - refunds = totals of the orders that are paid and not cancelled',
  ],
  ['a charge is not written down', forget('payment.completed'), 'a payment knows what the provider did'],
  [
    'a counter moves alone',
    `update products.products set on_hand = on_hand + 1 where id = '${tea}'`,
    'stock counters are the sums of the ledger',
  ],
  ['the ledger moves alone', move(1), 'stock counters are the sums of the ledger'],
  [
    'goods appear',
    `update products.products set on_hand = on_hand + 1 where id = '${tea}'; ${move(1)}`,
    'what came in is on hand or has left the house',
  ],
  [
    'goods are sold that are not there',
    `alter table products.products drop constraint never_oversold;
     update products.products set reserved = on_hand + 1 where id = '${tea}'`,
    'stock is never oversold',
  ],
  [
    'a reservation is never given back',
    `update products.reservations set status = 'active' where status = 'released'`,
    'reserved is what open reservations hold',
  ],
  [
    'a reservation is given back twice',
    `alter table products.stock_movements drop constraint stock_movements_reference_product_id_kind_key;
     insert into products.stock_movements (product_id, kind, on_hand_delta, reserved_delta, reference)
     select product_id, kind, on_hand_delta, reserved_delta, reference from products.stock_movements where kind = 'released' limit 1`,
    'a reservation takes once and gives back once',
  ],
  [
    'too little is reserved',
    `update products.reservation_lines set quantity = quantity - 1 where quantity > 1`,
    'an order reserves what it is about, and holds it as long as it should',
  ],
  [
    'there is a parcel too many',
    `alter table shipping.shipments drop constraint shipments_order_id_key;
     insert into shipping.shipments select gen_random_uuid(), order_id, status, address, lines, tracking_number, version, created_at
     from shipping.shipments limit 1`,
    'an order has at most one shipment',
  ],
  [
    'there is no parcel',
    `delete from shipping.shipments where status = 'created'`,
    'a fulfilled order has a parcel, a cancelled one has none',
  ],
  [
    'a parcel moves in silence',
    `update shipping.shipments set status = 'delivered' where status = 'created'`,
    'a shipment is what its stream says',
  ],
  [
    'a view lacks a row',
    `delete from orders.orders_view where ctid = ${one('orders.orders_view')}`,
    'orders.orders_view is the fold of the log',
  ],
  [
    'a view is a version behind',
    `update orders.orders_view set version = version - 1, status = 'submitted' where ctid = ${one('orders.orders_view')}`,
    'orders_view shows each order as it stands in the log',
  ],
  [
    'a view holds what never was',
    `insert into payments.payments_view select gen_random_uuid(), order_id, status, amount_minor, currency,
     method, provider_reference, refunded_minor, failure, version, requested_at, updated_at from payments.payments_view limit 1`,
    'payments.payments_view is the fold of the log',
  ],
  [
    'a view counts a refund twice',
    `update payments.payments_view set refunded_minor = refunded_minor * 2 where refunded_minor > 0`,
    'payments.payments_view is the fold of the log',
  ],
  [
    'a timeline skips an entry',
    `delete from orders.timeline where ctid = ${one('orders.timeline', `type = 'payment.completed'`)}`,
    'orders.timeline is the fold of the log',
  ],
  [
    'a saga is shown as running',
    `update sagas.instances set status = 'running' where ctid = ${one('sagas.instances')}`,
    'sagas.instances is the fold of the log',
  ],
  [
    'an id is used for two things',
    `${defenceless} update event_store.events set aggregate_type = 'payment'
     where event_type = 'order.submitted'`,
    'an aggregate is of one type',
  ],
  [
    'a command is appended in two parts',
    `${defenceless} update event_store.events
     set recorded_at = recorded_at + interval '1 s' where event_type = 'order.submitted'`,
    'a command is appended once',
  ],
  [
    'a saga leaves a step out',
    `${defenceless} delete from event_store.events where event_type = 'saga.step-completed'
     and payload ->> 'step' = 'processPayment'`,
    'a completed saga has completed its steps',
  ],
  [
    'a saga takes its first step back first',
    `${defenceless} update event_store.events set payload = payload || jsonb_build_object('step',
     case payload ->> 'step' when 'reserveInventory' then 'createShipment' when 'createShipment' then 'reserveInventory'
     else payload ->> 'step' end) where event_type = 'saga.compensation-completed'`,
    'steps are taken back in reverse order',
  ],
  [
    'a reservation ends in silence',
    `update products.reservations set status = 'committed' where status = 'active'`,
    'a reservation is what its stream says',
  ],
  [
    'an event is put aside',
    `insert into subscriptions.dead_letters (subscription, position, event_id, event_type, partition, state)
     select 'orders.progress', position, event_id, event_type, 'x', 'failed' from event_store.events limit 1`,
    'nothing is a dead letter',
  ],
];

describe('the checker of the crash runs', () => {
  let shop: TestApp;
  let client: Client;
  let books: Books;

  beforeAll(async () => {
    shop = await startApp({ env: { DEMO_DATA: 'true' } });
    const order = (reference: string, paymentMethod: string, countryCode = 'GB') =>
      shop.admin.post('/v1/orders', {
        reference,
        lines: [
          { productId: tea, quantity: 2 },
          { productId: pot, quantity: 1 },
        ],
        shippingAddress: { name: 'Ada', line1: 'St James’s Square 12', city: 'London', countryCode },
        paymentMethod,
        submit: true,
      });
    const [fulfilled, , , parcel, cancelled] = await Promise.all([
      order('fulfilled', 'sandbox_ok'),
      order('refunded', 'sandbox_ok', 'AQ'),
      order('declined', 'sandbox_declined'),
      order('shipped', 'sandbox_ok'),
      order('cancelled', 'sandbox_ok'),
    ]);
    await shop.settled();
    const { body } = await shop.admin.get(`/v1/orders/${parcel.body.id}`);
    await shop.admin.post(`/v1/shipments/${body.shipmentId}/dispatch`);
    await shop.admin.post(`/v1/orders/${cancelled.body.id}/cancel`, { reason: 'changed my mind' });
    await shop.admin.post(`/v1/products/${tea}/stock-adjustments`, { delta: 5, reason: 'delivery' });
    await shop.settled();
    books = {
      attempted: new Set(['fulfilled', 'refunded', 'declined', 'shipped', 'cancelled']),
      orders: new Map([['fulfilled', { id: fulfilled.body.id, submitted: true, lines: 2 }]]),
      refused: new Set(),
      cancelled: new Set([cancelled.body.id]),
      dispatched: new Set([body.shipmentId]),
      adjusted: new Map([['delivery', { delta: 5, acknowledged: true }]]),
    };
    client = new Client({ connectionString: shop.databaseUrl });
    await client.connect();
  });
  afterAll(async () => {
    await client.end();
    await shop.close();
  });
  beforeEach(() => client.query('begin'));
  afterEach(() => client.query('rollback'));

  it('has nothing to say about a shop in order', async () => {
    expect(await violations(client, books)).toEqual([]);
  });

  it.each(planted)('notices when %s', async (_, statement, invariant) => {
    await client.query(statement);
    expect((await violations(client)).map((violation) => violation.invariant)).toContain(invariant);
  });

  const lies: readonly (readonly [what: string, change: () => Partial<Books>, invariant: string])[] = [
    [
      'an acknowledged order is lost',
      () => ({ orders: new Map([['lost', { id: books.orders.get('fulfilled')!.id, submitted: true, lines: 1 }]]) }),
      'no acknowledged command is lost',
    ],
    [
      'an acknowledged line is lost',
      () => ({ orders: new Map([['fulfilled', { ...books.orders.get('fulfilled')!, lines: 3 }]]) }),
      'no acknowledged command is lost',
    ],
    [
      'an acknowledged cancellation is lost',
      () => ({ cancelled: new Set([books.orders.get('fulfilled')!.id]) }),
      'no acknowledged command is lost',
    ],
    ['an order appears that nobody asked for', () => ({ attempted: new Set() }), 'nothing is done unasked'],
    ['a refused order is made', () => ({ refused: new Set(['declined']) }), 'what was refused is not done'],
    ['goods arrive that nobody booked', () => ({ adjusted: new Map() }), 'nothing is done unasked'],
  ];

  it.each(lies)('notices when %s', async (_, change, invariant) => {
    const found = await violations(client, { ...books, ...change() });
    expect(found.map((violation) => violation.invariant)).toContain(invariant);
  });

  it('notices when a repeated request makes a second order', async () => {
    await client.query(`${defenceless}
      insert into event_store.events
      select position + 1000, gen_random_uuid(), gen_random_uuid(), aggregate_type, version, event_type, schema_version,
             payload, metadata, recorded_at from event_store.events where event_type = 'order.created' limit 1`);
    const found = await violations(client, books);
    expect(found.map((violation) => violation.invariant)).toContain('a repeated request has one effect');
  });
});
