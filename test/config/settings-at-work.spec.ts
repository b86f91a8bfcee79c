import { DataSource } from 'typeorm';
import { createApp } from '../../src/bootstrap';
import { readConfig } from '../../src/config/config';
import { Database } from '../../src/kernel/database/database';
import { happened, order, query, type Row } from '../journeys/shop';
import { eventually } from '../kernel/support';
import { startApp, type TestApp, tokenSecret } from '../support/app';

describe('a setting', () => {
  let shop: TestApp;
  beforeAll(async () => {
    shop = await startApp({
      env: {
        DATABASE_POOL_READS: '3',
        DATABASE_POOL_VIEWS: '4',
        DATABASE_POOL_ROWS: '5',
        MAX_BODY_BYTES: '2000',
        PAYMENT_PROVIDER_RETRIES: '0',
        PAYMENT_PROVIDER_BREAKER_FAILURES: '1',
        PAYMENT_PROVIDER_BREAKER_SECONDS: '3600',
      },
    });
  });
  afterAll(() => shop.close());

  it('bounds the connections of each pool', async () => {
    const { pool, relaxed } = shop.app.get(Database);
    const rows = shop.app.get(DataSource);
    const sleep = 'select pg_sleep(0.1)';
    const many = Array.from({ length: 10 });
    await Promise.all(many.flatMap(() => [pool.query(sleep), relaxed.query(sleep), rows.query(sleep)]));
    const sessions = await query(
      shop,
      `select application_name as name, count(*)::int from pg_stat_activity
       where datname = current_database() and application_name = any($1) group by 1`,
      [['orderloom', 'orderloom/derived', 'orderloom/modules']],
    );
    expect(Object.fromEntries(sessions.map(({ name, count }) => [name, count]))).toEqual({
      orderloom: 3,
      'orderloom/derived': 4,
      'orderloom/modules': 5,
    });
  });

  it('bounds the size of a body', async () => {
    const answers = await Promise.all(
      [1000, 2000].map((length) => shop.admin.post('/v1/products', { name: 'x'.repeat(length) })),
    );
    expect(answers.map(({ status }) => status)).toEqual([400, 413]);
  });

  it('says after how many failures, and for how long, a service outside is not called', async () => {
    const placed = await order(shop.admin, { paymentMethod: 'sandbox_flaky' });
    await happened(shop, placed, 'payment.attempted');
    const opened = await eventually(async () => {
      const { body } = await shop.admin.get('/v1/operations/circuit-breakers');
      return (body['data'] ?? body).find(({ name, state }: Row) => name === 'payment-provider' && state === 'OPEN') as
        Row | undefined;
    });
    expect(opened).toMatchObject({ failures: 1, calls: 1 });
    expect(opened['retryAfterMs']).toBeGreaterThan(3_000_000);
    await shop.admin.post('/v1/operations/circuit-breakers/payment-provider/reset');
    await happened(shop, placed, 'payment.completed');
  });

  it('says how long the response to an Idempotency-Key is kept', async () => {
    await query(
      shop,
      `insert into gateway.idempotency_keys (id, fingerprint, locked_until, created_at)
       select gen_random_uuid(), hours, now(), now() - hours * interval '1 h' from unnest(array[1, 3]) as hours`,
    );
    const env = { NODE_ENV: 'test', DATABASE_URL: shop.databaseUrl, IDEMPOTENCY_KEY_HOURS: '2', LOG_LEVEL: 'silent' };
    const app = await createApp({ config: readConfig(env), databaseUrl: shop.databaseUrl, secret: tokenSecret });
    await app.init();
    const old = `select fingerprint from gateway.idempotency_keys where created_at < now() - interval '30 min'`;
    await eventually(async () => (await query(shop, old)).length === 1);
    expect(await query(shop, old)).toEqual([{ fingerprint: '1' }]);
    await app.close();
  });
});
