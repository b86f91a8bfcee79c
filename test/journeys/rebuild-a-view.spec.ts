import type { Client } from 'pg';
import { connect, eventually } from '../kernel/support';
import type { Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { scrape } from '../support/metrics';
import { account, order, type Row, waiting } from './shop';

const subscriptions = '/v1/operations/subscriptions';
const view = 'orders.order-details';

describe('rebuilding a view that something stands in the way of', () => {
  let shop: TestApp;
  let ada: Api;
  let staff: Api;
  let owner: Client;

  beforeAll(async () => {
    shop = await startApp({ retry: { maxBackoffMs: 500 } });
    ada = await shop.customer();
    staff = await account(shop, ['staff']);
    owner = await connect(shop.databaseUrl);
    await order(ada, {}, waiting);
  });
  afterAll(async () => {
    await owner.end();
    await shop.close();
  });

  const of = async (name: string) => {
    const { body } = await staff.get(subscriptions);
    return (body['data'] as Row[]).find((each) => each['name'] === name);
  };
  const failed = async (name: string) =>
    (await scrape(shop.url)).samples.get(`orderloom_subscription_failed{subscription="${name}",segment="0"}`);
  const failing = async () => {
    await owner.query('create materialized view orders.monthly as select id from orders.orders_view');
    const { status, body } = await staff.post(`${subscriptions}/${view}/rebuild`);
    expect(status).toBe(202);
    const begun = { name: `${view}/rebuild`, kind: 'projection', position: 0, error: null };
    expect(body).toMatchObject({ data: [begun], page: { next: null, hasMore: false } });
    await eventually(async () => (await of(`${view}/rebuild`))?.['error']);
  };

  it('shows that it failed and why, in the operations and in the metrics', async () => {
    await failing();
    const rebuild = await of(`${view}/rebuild`);
    expect(rebuild).toMatchObject({
      position: 0,
      error: expect.stringContaining('materialized view orders.monthly') as string,
    });
    expect(rebuild!['lag']).toBeGreaterThan(0);
    expect(await of(view)).toMatchObject({ lag: 0, error: null });
    expect([await failed(`${view}/rebuild`), await failed(view)]).toEqual([1, 0]);
  });

  it('leaves the shop as it is meanwhile', async () => {
    expect((await order(ada, {}, waiting)).body).toMatchObject({ paymentStatus: 'paid' });
  });

  it('ends when staff abandon it', async () => {
    const abandoned = await staff.delete(`${subscriptions}/${view}/rebuild`);
    expect(abandoned).toMatchObject({ status: 200, body: { data: [{ name: view, error: null }] } });
    expect(await of(`${view}/rebuild`)).toBeUndefined();
    expect(await failed(`${view}/rebuild`)).toBeUndefined();
    expect(await staff.delete(`${subscriptions}/${view}/rebuild`)).toMatchObject({
      status: 404,
      body: { code: 'rebuild-unknown' },
    });
    await owner.query('drop materialized view orders.monthly');
  });

  it('succeeds of itself when that has gone', async () => {
    await failing();
    await owner.query('drop materialized view orders.monthly');
    await eventually(async () => !(await of(`${view}/rebuild`)));
    expect((await order(ada, {}, waiting)).body).toMatchObject({ paymentStatus: 'paid' });
    expect(await ada.all('/v1/orders')).toHaveLength(3);
  });
});
