import { createApp } from '../../src/bootstrap';
import { readConfig } from '../../src/config/config';
import { eventually } from '../kernel/support';
import type { Answer, Api } from '../support/api';
import { startApp, tokenSecret, type TestApp } from '../support/app';
import { scrape } from '../support/metrics';
import { account, order, query, waiting } from './shop';

describe('watching the business', () => {
  let shop: TestApp;
  let ada: Api;
  let staff: Api;
  let yen: string;

  beforeAll(async () => {
    shop = await startApp();
    ada = await shop.customer();
    staff = await account(shop, ['staff']);
    const price = { amountMinor: 1200, currency: 'JPY' };
    const { body } = await shop.admin.post('/v1/products', { sku: 'FAN', name: 'Fan', price });
    yen = body['id'] as string;
    await shop.admin.post(`/v1/products/${yen}/stock-adjustments`, { delta: 100, reason: 'delivery' });
  });
  afterAll(() => shop.close());

  const value = async (series: string) => (await scrape(shop.url)).samples.get(`orderloom_${series}`);
  const inYen = () => ({ lines: [{ productId: yen, quantity: 1 }] });

  async function shipmentOf({ body }: Answer): Promise<string> {
    const { body: found } = await staff.get(`/v1/shipments?orderId=${body['id']}`);
    return `/v1/shipments/${found['data'][0].id}`;
  }

  /** What the metrics say of it has to be what the views say. */
  async function expectMetricsOfViews(url = shop.url): Promise<void> {
    await shop.settled();
    const { samples } = await scrape(url);
    const of = (family: string) =>
      Object.fromEntries(
        [...samples].flatMap(([series, number]) => {
          const [, label] = new RegExp(`^orderloom_${family}\\{\\w+="(\\w+)"\\}$`).exec(series) ?? [];
          return label && number > 0 ? [[label, number]] : [];
        }),
      );
    const counted = async (text: string) =>
      Object.fromEntries((await query(shop, text)).map(({ label, count }) => [label, Number(count)]));
    const orders = await counted('select status as label, count(*) from orders.orders_view group by 1');
    expect(Object.keys(orders).length).toBeGreaterThan(3);
    expect(of('orders')).toEqual(orders);
    expect(of('revenue_minor_total')).toEqual(
      await counted(
        `select currency as label, sum(amount_minor) as count from payments.payments_view
         where status in ('completed', 'refunded') group by 1`,
      ),
    );
    expect(of('refunds_minor_total')).toEqual(
      await counted(
        `select currency as label, sum(refunded_minor) as count from payments.payments_view
         where status = 'refunded' group by 1`,
      ),
    );
  }

  it('one sees how many orders are in which status, and what they brought in', async () => {
    const [done, shipped, cancelled] = [
      await order(ada, {}, waiting),
      await order(ada, inYen(), waiting),
      await order(ada, inYen(), waiting),
    ];
    await order(ada, {}, waiting);
    await order(ada, { paymentMethod: 'sandbox_declined' }, waiting);
    await order(ada, { submit: false });
    await staff.post(`${await shipmentOf(done)}/dispatch`);
    await staff.post(`${await shipmentOf(shipped)}/dispatch`);
    await shop.settled();
    await staff.post(`${await shipmentOf(done)}/deliver`);
    await ada.post(`/v1/orders/${cancelled.body['id']}/cancel`, { reason: 'too hot' });
    await expectMetricsOfViews();
    expect(await value('orders{status="completed"}')).toBe(1);
    expect(await value('orders{status="paid"}')).toBe(0);
    expect(await value('revenue_minor_total{currency="JPY"}')).toBe(2400);
    expect(await value('refunds_minor_total{currency="JPY"}')).toBe(1200);
    expect(await value('payments_total{outcome="failed"}')).toBe(1);
  });

  it('one sees how long orders take', async () => {
    const { families, samples } = await scrape(shop.url);
    expect(families.get('orderloom_order_fulfilment_seconds')).toMatchObject({ type: 'histogram' });
    const of = (suffix: string, labels: string) =>
      samples.get(`orderloom_order_fulfilment_seconds${suffix}{${labels}}`);
    const counts = ['fulfilling', 'shipped', 'delivered'].map((until) => of('_count', `until="${until}"`));
    expect(counts).toEqual([4, 2, 1]);
    expect(of('_bucket', 'until="shipped",le="+Inf"')).toBe(2);
    // as the log has it
    const [row] = await query(
      shop,
      `select sum(extract(epoch from date_trunc('milliseconds', f.recorded_at) - date_trunc('milliseconds', s.recorded_at)))::float8 as sum
       from event_store.events f join event_store.events s on s.aggregate_id = f.aggregate_id
       where f.event_type = 'order.fulfilling' and s.event_type = 'order.submitted'`,
    );
    expect(of('_sum', 'until="fulfilling"')).toBeCloseTo(row!['sum'] as number, 2);
  });

  it('all replicas say the same', async () => {
    const config = readConfig({ NODE_ENV: 'test', DATABASE_URL: shop.databaseUrl, LOG_LEVEL: 'silent' });
    const replica = await createApp({ config, databaseUrl: shop.databaseUrl, secret: tokenSecret });
    try {
      await replica.listen(0, '127.0.0.1');
      await order(ada, {}, waiting);
      await expectMetricsOfViews(await replica.getUrl());
      await expectMetricsOfViews();
    } finally {
      await replica.close();
    }
  });

  it('a rebuild from the log comes to the same numbers', async () => {
    for (const name of ['orders.figures', 'payments.figures']) {
      const table = `select figure, label, value::float8, memory from ${name} order by 1, 2`;
      const before = await query(shop, table);
      expect(before.length).toBeGreaterThan(2);
      await query(shop, `update ${name} set value = value + 1`);
      expect((await staff.post(`/v1/operations/subscriptions/${name}/rebuild`)).status).toBe(202);
      await eventually(async () => {
        const { body } = await staff.get('/v1/operations/subscriptions');
        return !JSON.stringify(body).includes(`${name}/rebuild`);
      });
      expect(await query(shop, table)).toEqual(before);
    }
  });

  it('remembers of an order only what it needs until the order has ended', async () => {
    const remembered = await query(shop, `select label, memory from orders.figures where figure = 'subject'`);
    const open = await query(
      shop,
      `select id as label, status from orders.orders_view where status not in ('completed', 'cancelled')`,
    );
    expect(remembered.map(({ label, memory }) => [label, memory.status]).sort()).toEqual(
      open.map(({ label, status }) => [label, status]).sort(),
    );
  });
});
