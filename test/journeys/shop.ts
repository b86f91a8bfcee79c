import { CommandBus } from '@nestjs/cqrs';
import { Client } from 'pg';
import { AccessTokens } from '../../src/gateway/authentication/access-tokens';
import type { Role } from '../../src/kernel/http/principal';
import { OpenSession } from '../../src/modules/users/contracts/sessions';
import { Resilience } from '../../src/kernel/resilience/policies';
import { Subscriptions } from '../../src/kernel/subscriptions/subscriptions';
import { eventually } from '../kernel/support';
import { type Answer, Api, type Json } from '../support/api';
import type { TestApp } from '../support/app';

/** JSON, and rows of a database: a wrong guess about them fails the test. */
export type Row = Record<string, Json>;

/** The demonstration catalogue. */
export const tea = '00000000-0000-7000-8000-000000000001';
export const sencha = '00000000-0000-7000-8000-000000000002';
export const teapot = '00000000-0000-7000-8000-000000000003';
export const cups = '00000000-0000-7000-8000-000000000004';
/** Ten were made. */
export const tin = '00000000-0000-7000-8000-000000000005';

export const address = { name: 'Ada Lovelace', line1: '12 St James’s Square', city: 'London', countryCode: 'GB' };

/** What it takes to place an order for two packs of tea. */
export const anOrder = (change: object = {}): Row => ({
  lines: [{ productId: tea, quantity: 2 }],
  shippingAddress: address,
  paymentMethod: 'sandbox_ok',
  submit: true,
  ...change,
});

export const waiting = { prefer: 'wait=10' };

/** Creates an order and fails unless it was taken. */
export async function order(api: Api, change: object = {}, headers: Record<string, string> = {}): Promise<Answer> {
  const answer = await api.post('/v1/orders', anOrder(change), headers);
  if (answer.status >= 300) throw new Error(`No order: ${JSON.stringify(answer.body)}`);
  return answer;
}

export const ordersOf = async (api: Api, answer: Answer) => (await api.get(`/v1/orders/${answer.body['id']}`)).body;

/** Types of all that happened to an order, in order, without what the saga says of itself. */
export async function story(shop: TestApp, { body }: Answer): Promise<string[]> {
  const types = await fullStory(shop, body['id'] as string);
  return types.filter((type) => !type.startsWith('saga.'));
}

export async function fullStory(shop: TestApp, orderId: string): Promise<string[]> {
  return (await shop.admin.all(`/v1/orders/${orderId}/timeline`)).map((entry) => entry['type'] as string);
}

/** Waits until it has happened to the order, for a minute at most. */
export async function happened(shop: TestApp, placed: Answer, type: string): Promise<void> {
  const subscriptions = shop.app.get(Subscriptions, { strict: false });
  for (const deadline = Date.now() + 60_000; Date.now() < deadline;) {
    const next = subscriptions.next(({ eventType }) => eventType === type, 1000);
    const events = await query(
      shop,
      `select from event_store.events where event_type = $1 and payload ->> 'orderId' = $2`,
      [type, placed.body['id']],
    );
    if (events.length > 0) return;
    await next;
  }
  throw new Error(`No ${type} for order ${placed.body['id']} within a minute`);
}

/** Waits until it has happened to the order, and all that follows from it can be seen; others need not have ended. */
export async function after(shop: TestApp, placed: Answer, type: string): Promise<void> {
  await happened(shop, placed, type);
  await shop.app.get(Subscriptions, { strict: false }).idle();
}

/** Does `work` while nobody runs the subscription; what it is for comes after. */
export async function whilePaused<T>(shop: TestApp, subscription: string, work: () => Promise<T>): Promise<T> {
  const path = `/v1/operations/subscriptions/${subscription}`;
  await shop.admin.post(`${path}/pause`);
  await eventually(async () => {
    const rows = await query(shop, 'select owner from subscriptions.checkpoints where name = $1', [subscription]);
    return rows.every(({ owner }) => owner === null);
  });
  try {
    return await work();
  } finally {
    await shop.admin.post(`${path}/resume`);
  }
}

/** An isolated breaker tells its callers to come back after its timeout: half a minute is too long for a test. */
export function hurryBreakers(shop: TestApp): void {
  for (const name of ['payment-provider', 'carrier']) {
    const breaker = shop.app.get(Resilience, { strict: false }).breaker(name)!;
    (breaker as unknown as { options: { timeout: number } }).options.timeout = 100;
  }
}

let accounts = 0;

/** Signed in as new accounts that have no password, which costs no hashing. */
export async function accountsOf(shop: TestApp, count: number, roles: Role[] = ['customer']): Promise<Api[]> {
  return Promise.all(Array.from({ length: count }, () => account(shop, roles)));
}

export async function account(shop: TestApp, roles: Role[] = ['customer']): Promise<Api> {
  const name = `Account ${++accounts}`;
  const { body } = await shop.admin.post('/v1/users', { email: `account-${accounts}@example.com`, name });
  const userId = body['id'] as string;
  const { version } = (await shop.admin.put(`/v1/users/${userId}/roles`, { roles })).body as { version: number };
  return new Api(shop.url, await shop.app.get(AccessTokens, { strict: false }).issue({ userId, roles, version }));
}

/** A session of the account, besides the one that it is signed in with. @returns its id */
export async function sessionFor(shop: TestApp, api: Api): Promise<string> {
  const { id: userId, roles, version } = (await api.get('/v1/users/me')).body;
  const client = { address: '203.0.113.7', userAgent: 'another device' };
  const opened = await shop.app
    .get(CommandBus, { strict: false })
    .execute(new OpenSession({ userId, roles, version }, client));
  return opened!.sessionId;
}

export const idOf = async (api: Api): Promise<string> => (await api.get('/v1/users/me')).body['id'] as string;

export async function stockOf(
  shop: TestApp,
  productId: string,
): Promise<{ onHand: number; reserved: number; available: number }> {
  const { onHand, reserved, available } = (await shop.admin.get(`/v1/products/${productId}/stock`)).body;
  return { onHand, reserved, available };
}

export async function query<R = Row>(shop: TestApp, text: string, values: unknown[] = []): Promise<R[]> {
  const client = new Client({ connectionString: shop.databaseUrl });
  await client.connect();
  try {
    return (await client.query(text, values)).rows as R[];
  } finally {
    await client.end();
  }
}

/** What was charged for an order and not given back, by the provider's own books; `charges` counts the takings. */
export async function moneyOf(shop: TestApp, orderId: string): Promise<{ charges: number; keptMinor: number }> {
  const [row] = await query<{ charges: number; kept: number }>(
    shop,
    `select count(*) filter (where l.outcome = 'charged')::int as charges,
            coalesce(sum(case l.outcome when 'charged' then l.amount_minor when 'refunded' then -l.amount_minor else 0 end), 0)::float8 as kept
     from payments.payments_view p join payments.sandbox_ledger l on l.charge_key = p.id::text where p.order_id = $1`,
    [orderId],
  );
  return { charges: row!.charges, keptMinor: row!.kept };
}

/** What must be true of the books of any shop that has come to rest, whatever was done to it. */
export async function expectBooksInOrder(shop: TestApp): Promise<void> {
  await shop.settled();
  const counters = await query(
    shop,
    `select p.sku, p.on_hand, p.reserved, sum(m.on_hand_delta)::int as moved, sum(m.reserved_delta)::int as reserving
     from products.products p left join products.stock_movements m on m.product_id = p.id group by p.id`,
  );
  for (const { on_hand, reserved, moved, reserving } of counters) {
    expect({ on_hand, reserved }).toEqual({ on_hand: moved ?? 0, reserved: reserving ?? 0 });
    expect(reserved).toBeGreaterThanOrEqual(0);
    expect(on_hand).toBeGreaterThanOrEqual(reserved as number);
  }
  expect(
    await query(
      shop,
      `select product_id from products.reservation_lines l join products.reservations r on r.id = l.reservation_id
       group by product_id having sum(quantity) filter (where r.status = 'active')
         <> (select reserved from products.products p where p.id = product_id)`,
    ),
  ).toEqual([]);
  expect(
    await query(
      shop,
      `select p.sku from products.products p
       left join products.write_offs w on w.product_id = p.id
         and exists (select from products.reservations r where r.id = w.reservation_id and r.status = 'active')
       group by p.id having p.withdrawn <> coalesce(sum(w.quantity), 0)`,
    ),
  ).toEqual([]);
  // at most one charge an order; kept is what the customer bought, or nothing
  expect(
    await query(
      shop,
      `select o.id, o.status, o.total_minor, count(l.key) filter (where l.outcome = 'charged') as charges,
              coalesce(sum(case l.outcome when 'charged' then l.amount_minor when 'refunded' then -l.amount_minor else 0 end), 0) as kept
       from orders.orders_view o
       left join payments.payments_view p on p.order_id = o.id
       left join payments.sandbox_ledger l on l.charge_key = p.id::text
       group by o.id having count(l.key) filter (where l.outcome = 'charged') > 1
         or coalesce(sum(case l.outcome when 'charged' then l.amount_minor when 'refunded' then -l.amount_minor else 0 end), 0)
            <> case when o.status in ('paid', 'fulfilling', 'shipped', 'delivered', 'completed') then o.total_minor else 0 end`,
    ),
  ).toEqual([]);
  // nothing is left half done
  expect(
    await query(
      shop,
      `select o.id, o.status, s.status as saga from orders.orders_view o left join sagas.instances s on s.subject = o.id
       where o.status in ('submitted', 'reserved', 'paid') or s.status in ('running', 'compensating')`,
    ),
  ).toEqual([]);
  expect(
    await query(
      shop,
      `select aggregate_id from event_store.events group by aggregate_id having max(version) <> count(*)
       union all select null from event_store.events having max(position) <> count(*)`,
    ),
  ).toEqual([]);
}
