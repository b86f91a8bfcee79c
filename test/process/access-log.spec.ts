import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { anOrder, waiting } from '../journeys/shop';
import { connect, eventually } from '../kernel/support';
import { Api, type Json } from '../support/api';
import { adminPassword } from '../support/app';
import { createDatabase, type TestDatabase } from '../support/database';
import { RawConnection } from '../support/raw-http';
import { AppProcess, freePort } from './app-process';

describe('the access log', () => {
  let database: TestDatabase;
  let tester: Client;
  let process: AppProcess;
  let url: string;
  let admin: Api;

  async function start(env: Record<string, string> = {}): Promise<AppProcess> {
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    const started = new AppProcess({
      NODE_ENV: 'production',
      PAYMENT_PROVIDER: 'sandbox',
      DATABASE_URL: database.appUrl,
      PORT: String(port),
      DEMO_DATA: 'true',
      ADMIN_PASSWORD: adminPassword,
      JWT_SECRET: 'kP3v9XqLw7Rt2ZyNs8Bd5HgMf4Jc6Ua1',
      ...env,
    });
    await started.ready(url);
    return started;
  }

  beforeAll(async () => {
    database = await createDatabase();
    tester = await connect(database.url);
    process = await start();
    admin = await Api.signIn(url, 'admin@orderloom.local', adminPassword);
  });
  afterAll(async () => {
    await process.end();
    await tester.end();
    await database.drop();
  });

  const lines = (): Json[] =>
    process.output
      .split('\n')
      .filter((line) => line.includes('"context":"Access"'))
      .map((line) => JSON.parse(line));
  const lineOf = (traceId: string | null) => eventually(() => lines().find((line) => line['traceId'] === traceId));

  it('has one line for a request: who asked for what, and how it went', async () => {
    const { body: me } = await admin.get('/v1/users/me');
    const placed = await admin.post('/v1/orders', anOrder(), waiting);
    const { headers } = await admin.get(`/v1/orders/${placed.body['id']}?version=1`);
    expect(await lineOf(headers.get('x-request-id'))).toEqual({
      level: 'info',
      reqId: expect.any(String),
      time: expect.stringMatching(/^\d{4}-.*Z$/),
      traceId: headers.get('x-request-id'),
      context: 'Access',
      principal: `user:${me['id']}`,
      method: 'GET',
      route: '/v1/orders/:id',
      path: `/v1/orders/${placed.body['id']}`,
      status: 200,
      durationMs: expect.any(Number),
      bytes: Number(headers.get('content-length')),
      msg: expect.stringContaining(`GET /v1/orders/${placed.body['id']} 200 in `),
    });
    expect(lines().filter(({ traceId }) => traceId === headers.get('x-request-id'))).toHaveLength(1);
  });

  it('has no query, no e-mail address and no password in it', async () => {
    const { headers } = await new Api(url).get('/v1/products?sku=secret-of-the-query');
    const refused = await new Api(url).get('/v1/nowhere?token=secret-of-the-query');
    expect(await lineOf(headers.get('x-request-id'))).toMatchObject({ path: '/v1/products' });
    expect(await lineOf(refused.headers.get('x-request-id'))).toMatchObject({
      level: 'info',
      route: 'none',
      path: '/v1/nowhere',
      principal: 'anonymous',
      status: refused.status,
    });
    const text = lines()
      .map((line) => JSON.stringify(line))
      .join();
    expect(text).not.toMatch(/secret-of-the-query|@orderloom\.local/);
    expect(text).not.toContain(adminPassword);
  });

  it('has no line for a probe that is answered 200', async () => {
    await fetch(`${url}/health/live`);
    const { headers } = await admin.get('/v1/users/me');
    await lineOf(headers.get('x-request-id'));
    expect(lines().filter(({ path }) => String(path).startsWith('/health/') && path !== '/health/ready')).toEqual([]);
    expect(lines().filter(({ path, status }) => path === '/health/ready' && status === 200)).toEqual([]);
  });

  it('warns of a failure, whose cause is told at level error', async () => {
    await tester.query('alter table products.products rename to elsewhere');
    const { status, headers } = await admin.get('/v1/products').finally(async () => {
      await tester.query('alter table products.elsewhere rename to products');
    });
    expect(status).toBe(500);
    expect(await lineOf(headers.get('x-request-id'))).toMatchObject({ level: 'warn', status: 500 });
    expect(process.output).toMatch(new RegExp(`"level":"error".*trace ${headers.get('x-request-id')}`));
  });

  it('warns of a slow response, but not of one that the client asked to wait for', async () => {
    await tester.query('begin; lock table products.products in access exclusive mode');
    const answered = admin.get('/v1/products');
    await eventually(async () => {
      const { rowCount } = await tester.query(
        `select 1 from pg_locks where not granted and clock_timestamp() - waitstart > interval '1.1 s'`,
      );
      return rowCount;
    });
    await tester.query('commit');
    const slow = await answered;
    expect(slow.status).toBe(200);
    const line = await lineOf(slow.headers.get('x-request-id'));
    expect(line).toMatchObject({ level: 'warn', status: 200 });
    expect(line['durationMs']).toBeGreaterThan(1000);

    const asked = await admin.post('/v1/orders', anOrder({ paymentMethod: 'sandbox_slow' }), waiting);
    const patient = await lineOf(asked.headers.get('x-request-id'));
    expect(patient['durationMs']).toBeGreaterThan(1000);
    expect(patient).toMatchObject({ level: 'info', status: asked.status });
  });

  it('says that a client closed the connection before it had the response', async () => {
    const body = JSON.stringify(anOrder({ paymentMethod: 'sandbox_slow' }));
    const headers = {
      authorization: `Bearer ${admin.token}`,
      'content-type': 'application/json',
      'idempotency-key': 'gone',
      ...waiting,
    };
    const leaving = request(`${url}/v1/orders`, { method: 'POST', headers });
    leaving.on('error', () => undefined).end(body);
    await eventually(async () => {
      const { rowCount } = await tester.query(`select 1 from event_store.events where event_type = 'payment.attempted'
        and position > (select max(position) from event_store.events where event_type = 'payment.completed')`);
      return rowCount;
    });
    leaving.destroy();
    expect(await eventually(() => lines().find(({ status }) => status === 499))).toMatchObject({
      level: 'info',
      method: 'POST',
      path: '/v1/orders',
    });
  });

  it('keeps to the problems where it is told to', async () => {
    await process.end();
    process = await start({ ACCESS_LOG: 'problems' });
    admin = new Api(url, admin.token);
    expect((await admin.get('/v1/users/me')).status).toBe(200);
    // a stranger who takes long to be refused
    const head = ['Host: x', 'Content-Type: application/json', 'Content-Length: 9', 'Connection: close'].join('\r\n');
    const slow = new RawConnection(url, `POST /v1/auth/token HTTP/1.1\r\n${head}\r\n\r\n`);
    await delay(1100);
    slow.write('not: JSON');
    expect((await slow.answered).status).toBe(400);
    await tester.query('alter table products.products rename to elsewhere');
    const { headers } = await admin.get('/v1/products').finally(async () => {
      await tester.query('alter table products.elsewhere rename to products');
    });
    await lineOf(headers.get('x-request-id'));
    expect(lines().map(({ status }) => status)).toEqual([500]);
  });

  it('has the id of the request in its readable form, too', async () => {
    await process.end();
    process = await start({ LOG_FORMAT: 'pretty' });
    const { headers } = await new Api(url, admin.token).get('/v1/users/me');
    const line = await eventually(() => /GET \/v1\/users\/me 200 in .*\n(?: {4}.*\n)+/.exec(process.output)?.[0]);
    expect(line).toContain(`traceId: "${headers.get('x-request-id')}"`);
    expect(line).not.toContain('reqId');
  });
});
