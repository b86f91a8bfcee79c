import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tea } from '../journeys/shop';
import { AppProcess, freePort } from '../process/app-process';
import { type Answer, Api } from '../support/api';
import { adminPassword, startApp, type TestApp } from '../support/app';
import { createDatabase, type TestDatabase } from '../support/database';
import { random } from '../support/random';

const tally = (answers: readonly Answer[]) => {
  const counts: Record<number, number> = {};
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
};
const password = 'correct horse battery staple';
const product = `/v1/products/${tea}`;

describe('rate limits of two processes on one database', () => {
  let database: TestDatabase;
  let directory: string;
  let apps: AppProcess[];
  let urls: string[];

  const start = (port: number, settings: Record<string, string> = {}) =>
    new AppProcess({
      DATABASE_URL: database.appUrl,
      DATABASE_OWNER_URL: database.url,
      DATA_DIR: join(directory, String(port)),
      JWT_SECRET: 'b2f1c6f04c2b4a06a9f0c2b8d9a14e1f7d3c5e8a',
      PORT: String(port),
      ADMIN_PASSWORD: adminPassword,
      DEMO_DATA: 'true',
      LOG_LEVEL: 'warn',
      TRUSTED_PROXIES: '127.0.0.1',
      RATE_LIMIT_READ: '200/3600',
      RATE_LIMIT_WRITE: '50/3600',
      RATE_LIMIT_SIGN_IN: '20/3600',
      ...settings,
    });

  beforeAll(async () => {
    database = await createDatabase();
    directory = mkdtempSync(join(tmpdir(), 'orderloom-limits-'));
    const ports = [await freePort(), await freePort()];
    urls = ports.map((port) => `http://127.0.0.1:${port}`);
    apps = ports.map((port) => start(port));
    await Promise.all(apps.map((app, nth) => app.ready(urls[nth]!)));
  }, 90_000);
  afterAll(async () => {
    await Promise.all(apps.map((app) => app.end()));
    rmSync(directory, { recursive: true, force: true });
    await database.drop();
  });

  it('begin anew when they are changed, so that one that is too low can be raised', async () => {
    const from = { 'x-forwarded-for': '10.1.0.1' };
    const read = (url: string) => new Api(url).get(product, from);
    const answers = await Promise.all(Array.from({ length: 201 }, () => read(urls[0]!)));
    expect(tally(answers)).toEqual({ 200: 200, 429: 1 });
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const changed = start(port, { RATE_LIMIT_READ: '5/5' });
    try {
      await changed.ready(url);
      expect((await read(url)).status).toBe(200);
    } finally {
      await changed.end();
    }
  }, 60_000);

  let peers = 0;
  /** An address of its own. */
  const somewhere = () => ({ 'x-forwarded-for': `10.0.${++peers >> 8}.${peers & 255}` });
  const anonymous = () => urls.map((url) => new Api(url));
  /** A new account, signed in to both processes. */
  const customer = async () => {
    const email = `${randomUUID()}@example.com`;
    await new Api(urls[0]!).post('/v1/auth/register', { email, name: 'Ada', password }, somewhere());
    const { body } = await new Api(urls[0]!).post('/v1/auth/token', { username: email, password }, somewhere());
    return urls.map((url) => new Api(url, body['access_token'] as string));
  };
  /** So many requests, some at a time, most of them to the first process. */
  const send = async (total: number, atOnce: number, one: (nth: 0 | 1) => Promise<Answer>) => {
    const next = random(total * atOnce);
    const answers: Answer[] = [];
    while (answers.length < total) {
      const burst = Array.from({ length: Math.min(atOnce, total - answers.length) }, () => one(next() < 0.8 ? 0 : 1));
      answers.push(...(await Promise.all(burst)));
    }
    return answers;
  };

  it.each([1, 40])('hold to the unit for an account, %i requests at a time', async (atOnce) => {
    const ada = await customer();
    const answers = await send(230, atOnce, (nth) => ada[nth]!.get('/v1/users/me', somewhere()));
    expect(tally(answers)).toEqual({ 200: 200, 429: 30 });
    // the other class has permits of its own
    expect(tally(await send(60, atOnce, (nth) => ada[nth]!.post('/v1/orders', {}, somewhere())))).toEqual({
      201: 50,
      429: 10,
    });
  });

  it('hold to the unit for an address that is not signed in', async () => {
    const here = somewhere();
    const answers = await send(230, 15, (nth) => anonymous()[nth]!.get(product, here));
    expect(tally(answers)).toEqual({ 200: 200, 429: 30 });
    expect((await anonymous()[0]!.get(product, somewhere())).status).toBe(200);
  });

  it('hold for sign-ins, whoever they are for, and with whatever credential they come', async () => {
    const here = somewhere();
    const ada = await customer();
    const answers = await send(30, 5, (nth) => {
      return ada[nth]!.post('/v1/auth/token', { username: `${randomUUID()}@example.com`, password }, here);
    });
    expect(tally(answers)).toEqual({ 401: 20, 429: 10 });
    expect(answers.at(-1)!.body).toMatchObject({ code: 'rate-limited' });
  });

  it('hold for an address that sends wrong credentials; good ones from there are not refused', async () => {
    const here = somewhere();
    const ada = await customer();
    const wrong = ['x', 'a.b.c', `${ada[0]!.token!.slice(0, -3)}abc`];
    let nextWrong = 0;
    const answers = await send(230, 10, (nth) => {
      return new Api(urls[nth]!, wrong[nextWrong++ % wrong.length]).get('/v1/users/me', here);
    });
    expect(tally(answers)).toEqual({ 401: 200, 429: 30 });
    expect(tally(await send(20, 5, (nth) => ada[nth]!.get('/v1/users/me', here)))).toEqual({ 200: 20 });
  });
});

describe('a rate limit', () => {
  let shop: TestApp;
  let api: Api;
  let ada: Api;

  beforeAll(async () => {
    shop = await startApp({
      env: { RATE_LIMIT_READ: '40/3600', RATE_LIMIT_WRITE: '5/3600', RATE_LIMIT_SIGN_IN: '30/3600' },
    });
    api = new Api(shop.url);
    ada = await shop.customer();
  });
  afterAll(() => shop.close());

  const flood = async (one: (nth: number) => Promise<Answer>) => {
    for (let nth = 0; nth < 100; nth++) {
      const answer = await one(nth);
      if (answer.status === 429) return { nth, answer };
    }
    throw new Error('It is not limited');
  };

  it('is stated on each response, with what is left of it and when it begins anew', async () => {
    for (const left of [39, 38]) {
      const { headers } = await ada.get('/v1/users/me');
      expect(headers.get('ratelimit-policy')).toBe('"read";q=40;w=3600');
      const [, remaining, seconds] = /^"read";r=(\d+);t=(\d+)$/.exec(headers.get('ratelimit')!)!.map(Number);
      expect(remaining).toBe(left);
      expect(seconds).toBeGreaterThan(3500);
      expect(seconds).toBeLessThanOrEqual(3600);
    }
    expect((await ada.post('/v1/orders')).headers.get('ratelimit')).toMatch(/^"write";r=4;t=3\d{3}$/);
  });

  it('is answered with 429 and says when to come back, before the body is read', async () => {
    const { answer } = await flood(() => ada.post('/v1/orders'));
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect(answer.headers.get('ratelimit')).toMatch(/^"write";r=0;t=3\d{3}$/);
    const wait = Number(answer.headers.get('retry-after'));
    expect(wait).toBeGreaterThan(3500);
    expect(answer.body).toMatchObject({
      status: 429,
      code: 'rate-limited',
      detail: expect.stringMatching(
        /^More than 5 write requests for this account within 3600 s\. Try again in \d+ s\.$/,
      ),
    });
    const malformed = await fetch(`${shop.url}/v1/orders`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ada.token}`, 'content-type': 'application/json' },
      body: '{',
    });
    expect(malformed.status).toBe(429);
  });

  it('refuses sign-ins of an address that has used it up without a queue, which those of others would have to wait in', async () => {
    await flood(() => api.post('/v1/auth/refresh', { refresh_token: 'x' }));
    const { hostname, port } = new URL(shop.url);
    const request = `POST /v1/auth/logout HTTP/1.1\r\nHost: shop\r\n`;
    const socket = connect(Number(port), hostname);
    // more at once than may wait
    socket.write(`${request}\r\n`.repeat(1100) + `${request}Connection: close\r\n\r\n`);
    let answers = '';
    for await (const text of socket.setEncoding('latin1')) answers += text;
    expect(answers).not.toContain('Too many sign-ins are waiting');
    expect(answers).toContain('More than 30 sign-in requests from this address');
  });

  it('counts on the peer whatever an untrusted one says in X-Forwarded-For', async () => {
    const { nth, answer } = await flood((n) => api.get(product, { 'x-forwarded-for': `203.0.113.${n}, 10.0.0.${n}` }));
    expect(nth).toBeLessThanOrEqual(40);
    expect(answer.body['detail']).toContain('from this address');
  });

  it('does not hold for probes and metrics', async () => {
    await flood(() => api.get(product));
    for (let n = 0; n < 50; n++) {
      for (const path of ['/health/live', '/health/ready', '/metrics']) {
        const response = await fetch(shop.url + path, { headers: { authorization: 'Bearer wrong' } });
        await response.arrayBuffer();
        expect({ path, status: response.status }).toEqual({ path, status: 200 });
        expect(response.headers.has('ratelimit')).toBe(false);
      }
    }
  });
});

describe('a rate limit behind a trusted proxy', () => {
  let shop: TestApp;
  let api: Api;

  beforeAll(async () => {
    shop = await startApp({
      env: { TRUSTED_PROXIES: '127.0.0.1, 10.0.0.0/8', RATE_LIMIT_READ: '5/3600', RATE_LIMIT_WRITE: 'off' },
    });
    api = new Api(shop.url);
  });
  afterAll(() => shop.close());

  const get = (forwarded: string) => api.get(product, { 'x-forwarded-for': forwarded });
  const statuses = async (addresses: readonly string[]) => {
    const found: number[] = [];
    for (const address of addresses) found.push((await get(address)).status);
    return found;
  };

  it('counts on the address that the proxy names', async () => {
    for (const address of ['198.51.100.1', '198.51.100.2']) {
      expect(await statuses(Array<string>(6).fill(address))).toEqual([200, 200, 200, 200, 200, 429]);
    }
  });

  it('counts on the last address that no trusted proxy has: what a client puts before it does not matter', async () => {
    const spoofed = Array.from({ length: 6 }, (_, nth) => `203.0.113.${nth}, 198.51.100.3, 10.1.2.${nth}`);
    expect(await statuses(spoofed)).toEqual([200, 200, 200, 200, 200, 429]);
  });

  it('counts on the /64 network of an IPv6 address, and on an IPv4 address however it is written', async () => {
    const network = Array.from({ length: 6 }, (_, nth) => `2001:db8:1:2:${nth}::${nth}`);
    expect(await statuses(network)).toEqual([200, 200, 200, 200, 200, 429]);
    expect(await statuses(['2001:db8:1:3::1'])).toEqual([200]);
    const mapped = ['198.51.100.4', '::ffff:198.51.100.4', '198.51.100.4:50123'].flatMap((each) => [each, each]);
    expect(await statuses(mapped)).toEqual([200, 200, 200, 200, 200, 429]);
  });

  it('is neither stated nor held when it is off', async () => {
    for (let n = 0; n < 20; n++) {
      const { status, headers } = await shop.admin.post('/v1/orders', {}, { 'x-forwarded-for': '198.51.100.5' });
      expect({ status, stated: headers.has('ratelimit') }).toEqual({ status: 201, stated: false });
    }
  });
});
