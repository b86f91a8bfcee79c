import { createApp } from '../../src/bootstrap';
import { readConfig } from '../../src/config/config';
import { Resilience } from '../../src/kernel/resilience/policies';
import { Carrier } from '../../src/modules/shipping/carrier';
import { account, after, anOrder, order, query, waiting, type Row } from '../journeys/shop';
import { eventually } from '../kernel/support';
import { AppProcess, freePort } from '../process/app-process';
import { type Answer, Api, type Json } from '../support/api';
import { adminPassword, startApp, type TestApp } from '../support/app';
import { createDatabase } from '../support/database';

jest.setTimeout(60_000);

/** Parts of the texts of errors that are provoked below. None of them was written for customers. */
const privateTexts = [
  'carrier-7.internal',
  'ECONNREFUSED',
  'Circuit breaker',
  'CircuitBreakerOpenError',
  'payment-provider',
  'QueryFailedError',
  'does not exist',
  'products.reservations',
];

const technical = { code: 'technical-failure', message: 'A technical problem prevented this.' };
const unavailable = { code: 'unavailable', message: 'A service that this needs is not available.' };

/** Everything that is kept and that a customer may be shown, now or after a rebuild. */
const stored = `
  select 'event' as source, payload::text as text from event_store.events
  union all select 'order', to_jsonb(o)::text from orders.orders_view o
  union all select 'timeline', to_jsonb(t)::text from orders.timeline t
  union all select 'payment', to_jsonb(p)::text from payments.payments_view p
  union all select 'saga', to_jsonb(s)::text from sagas.instances s
  union all select 'response', body::text from gateway.idempotency_keys`;

describe('the text of an error that is no refusal', () => {
  let shop: TestApp;
  let ada: Api;
  let staff: Api;

  beforeAll(async () => {
    shop = await startApp({ retry: { attempts: 2, backoffMs: 5 } });
    ada = await account(shop);
    staff = await account(shop, ['staff']);
  });
  afterAll(() => shop.close());

  const breaker = (name: string) => shop.app.get(Resilience, { strict: false }).breaker(name)!;
  const pathOf = ({ body }: Answer) => `/v1/orders/${body['id']}`;
  const failures = async (placed: Answer): Promise<Json[]> => {
    const rows = await query(
      shop,
      `select payload -> 'error' as error from event_store.events
       where event_type = 'saga.step-failed' and payload ->> 'subject' = $1 order by version`,
      [placed.body['id']],
    );
    return rows.map(({ error }) => error);
  };
  const foundIn = (text: string) => privateTexts.filter((each) => text.includes(each));
  const leaks = async () => {
    const rows = await query<{ source: string; text: string | null }>(shop, stored);
    return rows.filter(({ text }) => foundIn(text ?? '').length > 0);
  };
  const shown = async (api: Api, placed: Answer) => {
    const path = pathOf(placed);
    const answers = await Promise.all([
      api.get(path),
      api.get('/v1/orders?limit=100'),
      api.all(`${path}/events`),
      api.all(`${path}/timeline`),
    ]);
    return JSON.stringify(answers);
  };
  const expectNothingOfIt = async (placed: Answer) => {
    expect(await leaks()).toEqual([]);
    expect(foundIn(await shown(ada, placed))).toEqual([]);
  };

  it('stays out of events, views and responses when the carrier fails, and when its breaker opens', async () => {
    const carrier = shop.app.get(Carrier, { strict: false });
    const book = carrier.book.bind(carrier);
    carrier.book = () => Promise.reject(new Error('connect ECONNREFUSED carrier-7.internal:8443'));
    const placed = await order(ada);
    // The breaker opens after five failures, and then asks for patience.
    await eventually(async () => (await failures(placed)).some(({ code }) => code === 'unavailable'));
    expect(await failures(placed)).toEqual(expect.arrayContaining([technical, unavailable]));
    await expectNothingOfIt(placed);
    carrier.book = book;
    breaker('carrier').reset();
  });

  it('stays out of them while the payment provider’s breaker is isolated', async () => {
    breaker('payment-provider').isolate();
    const placed = await order(ada);
    const charge = async () =>
      ((await staff.get('/v1/operations/subscriptions')).body.data as Row[]).find(
        ({ name }) => name === 'payments.charge',
      )!;
    await eventually(async () => ((await charge())['waiting'] as number) === 1);
    expect(await ada.post(`${pathOf(placed)}/cancel`, { reason: 'takes too long' })).toMatchObject({ status: 202 });
    const cancelled = () =>
      ada.get(pathOf(placed)).then(({ body }) => (body['status'] === 'cancelled' ? body : undefined));
    expect(await eventually(cancelled)).toMatchObject({ cancellation: { reason: 'takes too long' } });
    await expectNothingOfIt(placed);
    breaker('payment-provider').reset();
  });

  describe('when a table is missing', () => {
    let placed: Answer;

    beforeAll(async () => {
      await query(shop, 'alter table products.reservations rename to elsewhere');
      placed = await order(ada);
      await eventually(async () => (await failures(placed)).length >= 6, 30_000);
      await query(shop, 'alter table products.elsewhere rename to reservations');
      await after(shop, placed, 'order.cancelled');
    });

    it('stays out of them, and the order is cancelled with a neutral reason', async () => {
      const recorded = await failures(placed);
      expect(recorded).toEqual(recorded.map(() => technical));
      const { body } = await ada.get(pathOf(placed));
      const { code, message: reason } = technical;
      expect(body).toMatchObject({ status: 'cancelled', cancellation: { code, reason, step: 'reserveInventory' } });
      await expectNothingOfIt(placed);
    });

    it('is read no more where an older version had written it, also after the views were made of it', async () => {
      const secret = 'relation "products.reservations" does not exist';
      await query(
        shop,
        `alter table event_store.events disable trigger user;
         update event_store.events set schema_version = 1,
           payload = jsonb_set(payload, '{error}', '{"code": "QueryFailedError", "message": ${JSON.stringify(secret)}}')
         where event_type like 'saga.%' and payload -> 'error' ->> 'code' = 'technical-failure';
         update event_store.events set schema_version = 1,
           payload = payload || '{"code": "QueryFailedError", "reason": ${JSON.stringify(secret)}}'
         where event_type = 'order.cancelled' and payload ->> 'code' = 'technical-failure';
         alter table event_store.events enable trigger user;
         update orders.orders_view set cancellation = cancellation::jsonb || '{"reason": "does not exist"}'
         where status = 'cancelled';
         update orders.timeline set data = data || '{"error": "does not exist"}' where type like 'saga.%failed';
         update sagas.instances set error = '{"code": "QueryFailedError", "message": "does not exist"}'
         where status = 'compensated';
         delete from gateway.idempotency_keys;
         update subscriptions.checkpoints set version = 1
         where name in ('orders.order-details', 'orders.timeline', 'sagas.instances')`,
      );
      expect(foundIn(await shown(ada, placed))).toContain('does not exist');
      const config = readConfig({ NODE_ENV: 'test', DATABASE_URL: shop.databaseUrl, LOG_LEVEL: 'silent' });
      const secretKey = 'a secret that only this test run knows, long enough';
      const newer = await createApp({ config, databaseUrl: shop.databaseUrl, secret: secretKey });
      try {
        await newer.init();
        await eventually(async () => (await leaks()).every(({ source }) => source === 'event'), 20_000);
        await expectShownNeutral();
      } finally {
        await newer.close();
      }
      // The log itself is never rewritten.
      expect(await leaks()).not.toEqual([]);
    });

    const expectShownNeutral = async () => {
      expect(foundIn(await shown(ada, placed))).toEqual([]);
      expect(foundIn(await shown(shop.admin, placed))).toEqual([]);
      const { body } = await ada.get(pathOf(placed));
      expect(body).toMatchObject({ cancellation: { reason: technical.message, code: technical.code } });
    };
  });

  it('is in the log of the process, with the trace of the request', async () => {
    const database = await createDatabase();
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const shopProcess = new AppProcess({
      NODE_ENV: 'production',
      PAYMENT_PROVIDER: 'sandbox',
      DATABASE_URL: database.url,
      PORT: String(port),
      DEMO_DATA: 'true',
      ADMIN_PASSWORD: adminPassword,
      JWT_SECRET: 'kP3v9XqLw7Rt2ZyNs8Bd5HgMf4Jc6Ua1',
    });
    try {
      await shopProcess.ready(url);
      const admin = await Api.signIn(url, 'admin@orderloom.local', adminPassword);
      await query({ ...shop, databaseUrl: database.url }, 'alter table products.reservations rename to elsewhere');
      const placed = await admin.post('/v1/orders', anOrder());
      const failed = /^.*Step reserveInventory of order-fulfilment .* failed \(try 1\).*$/m;
      const [text] = await shopProcess.says(failed);
      const line = JSON.parse(text) as { level: string; traceId: string; msg: string };
      expect(line).toMatchObject({ level: 'warn', traceId: placed.headers.get('x-request-id') });
      expect(line.msg).toContain(`${placed.body['id']} failed (try 1), trace ${line.traceId}`);
      expect(line.msg).toContain('relation "products.reservations" does not exist');
      expect(shopProcess.output.match(new RegExp(failed, 'gm'))).toHaveLength(1);
    } finally {
      await shopProcess.end();
      await database.drop();
    }
  });
});

describe('the timeline', () => {
  let shop: TestApp;
  let ada: Api;
  let staff: Api;
  let placed: Answer;

  beforeAll(async () => {
    shop = await startApp();
    ada = await account(shop);
    staff = await account(shop, ['staff']);
    placed = await order(ada, {}, waiting);
    await staff.post(`/v1/orders/${placed.body['id']}/cancel`, { reason: 'damaged in the warehouse' });
    await after(shop, placed, 'order.cancelled');
  });
  afterAll(() => shop.close());

  const timeline = (api: Api) => api.all(`/v1/orders/${placed.body['id']}/timeline`);
  const actors = (entries: Json[]) => [...new Set(entries.map(({ actor }) => actor as string))].sort();

  it('tells customers what happened to their order, and not how the system and its staff went about it', async () => {
    const entries = await timeline(ada);
    const types = entries.map(({ type }) => type as string);
    expect(types).toEqual(expect.arrayContaining(['order.created', 'payment.completed', 'order.cancelled']));
    expect(types.filter((type) => type.startsWith('saga.'))).toEqual([]);
    const me = (await ada.get('/v1/users/me')).body['id'] as string;
    expect(actors(entries)).toEqual(['staff', 'system', `user:${me}`].sort());
    expect(JSON.stringify(entries)).not.toContain('providerReference');
    expect(entries.find(({ type }) => type === 'order.cancelled')!.data.reason).toBe('damaged in the warehouse');
  });

  it('tells staff everything', async () => {
    const entries = await timeline(shop.admin);
    expect(entries.map(({ type }) => type as string)).toEqual(
      expect.arrayContaining(['saga.started', 'saga.compensated', 'payment.refunded']),
    );
    const them = (await staff.get('/v1/users/me')).body['id'] as string;
    expect(actors(entries)).toEqual(expect.arrayContaining([`user:${them}`, 'system:payments.charge']));
    expect(entries.find(({ type }) => type === 'payment.completed')!.data.providerReference).toMatch(/^sandbox_/);
  });

  it('pages through what a customer sees without gaps', async () => {
    const entries = await timeline(ada);
    const first = await ada.get(`/v1/orders/${placed.body['id']}/timeline?limit=3`);
    expect(first.body).toMatchObject({ data: entries.slice(0, 3), page: { hasMore: true } });
    const second = await ada.get(`/v1/orders/${placed.body['id']}/timeline?limit=3&after=${first.body['page'].next}`);
    expect(second.body['data']).toEqual(entries.slice(3, 6));
  });
});
