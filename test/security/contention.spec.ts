import type { Client } from 'pg';
import { account, order, tea, teapot } from '../journeys/shop';
import { connect } from '../kernel/support';
import type { Answer, Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';

jest.setTimeout(60_000);

/** What the application can only wait for: another session holds it, for longer than `lock_timeout`. */
describe('a request for what another session holds locked', () => {
  let shop: TestApp;
  let ada: Api;
  let other: Client;

  beforeAll(async () => {
    shop = await startApp();
    ada = await account(shop);
    other = await connect(shop.databaseUrl);
  });
  afterAll(async () => {
    await other.end();
    await shop.close();
  });

  const expectBusy = ({ status, headers, body }: Answer) => {
    expect({ status, ...(body as object) }).toMatchObject({
      status: 503,
      code: 'overloaded',
      detail: 'The service is too busy for this request just now. Try again shortly.',
    });
    expect(headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    expect(headers.get('content-type')).toContain('application/problem+json');
  };

  it('is answered with 503 and Retry-After, changes nothing, and can be repeated', async () => {
    const adjust = (productId: string, key: string) =>
      shop.admin.post(
        `/v1/products/${productId}/stock-adjustments`,
        { delta: 1, reason: 'found one' },
        { 'idempotency-key': key },
      );
    const { headers } = await shop.admin.get(`/v1/products/${teapot}`);
    const rename = () =>
      shop.admin.patch(`/v1/products/${teapot}`, { name: 'Pot' }, { 'if-match': headers.get('etag')! });
    const before = await shop.admin.get(`/v1/products/${tea}/stock`);

    await other.query(`begin; update products.products set name = name where id in ('${tea}', '${teapot}')`);
    const [adjusted, renamed] = await Promise.all([adjust(tea, 'first'), rename()]);
    await other.query('rollback');
    expectBusy(adjusted);
    expectBusy(renamed);
    expect((await shop.admin.get(`/v1/products/${tea}/stock`)).body).toEqual(before.body);

    expect((await adjust(tea, 'first')).status).toBeLessThan(300);
    expect(await rename()).toMatchObject({ status: 200, body: { name: 'Pot' } });
    const { body } = await shop.admin.get(`/v1/products/${tea}/stock`);
    expect(body['onHand']).toBe((before.body['onHand'] as number) + 1);
  });

  it('is answered so too when the whole log is locked', async () => {
    const draft = await order(ada, { submit: false });
    await other.query(`begin; select pg_advisory_xact_lock(hashtextextended('event_store.log', 0))`);
    const cancelled = await ada.post(`/v1/orders/${draft.body['id']}/cancel`);
    await other.query('rollback');
    expectBusy(cancelled);
    expect((await ada.get(`/v1/orders/${draft.body['id']}`)).body).toMatchObject({ status: 'draft' });
    expect(await ada.post(`/v1/orders/${draft.body['id']}/cancel`)).toMatchObject({ status: 202 });
  });

  it('is answered from the log when it was carried out, though its view is locked', async () => {
    await other.query('begin; lock table orders.orders_view');
    try {
      const draft = await order(ada, { submit: false });
      expect(draft).toMatchObject({ status: 201, body: { status: 'draft', lineCount: 1 } });
      expectBusy(await ada.get(`/v1/orders/${draft.body['id']}`));
    } finally {
      await other.query('rollback');
    }
  });

  it('is refused at once while many others wait for it, and taken afterwards', async () => {
    const read = () => shop.admin.get('/v1/orders');
    await other.query('begin; lock table orders.orders_view');
    try {
      let told: Answer | undefined;
      const until = Date.now() + 20_000;
      const reader = async () => {
        while (!told && Date.now() < until) {
          const answer = await read();
          if (/Too many requests wait/.test(String(answer.body['detail']))) told = answer;
        }
      };
      const waiting = Array.from({ length: 300 }, reader);
      await Promise.race(waiting);
      expect(told).toMatchObject({ status: 503, body: { code: 'overloaded' } });
      expect(await shop.admin.get('/health/ready')).toMatchObject({ status: 200 });
      await other.query('rollback');
      await Promise.all(waiting);
    } finally {
      await other.query('rollback');
    }
    expect(await read()).toMatchObject({ status: 200 });
  });
});
