import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { account, anOrder } from '../journeys/shop';
import { AppProcess, freePort } from '../process/app-process';
import { startApp, type TestApp } from '../support/app';
import { createDatabase, type TestDatabase } from '../support/database';
import { type RawAnswer, RawConnection } from '../support/raw-http';

const head = (line: string, headers: Record<string, string | number> = {}) =>
  `${line} HTTP/1.1\r\n${Object.entries({ Host: 'test', ...headers })
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')}\r\n`;
const json = { 'Content-Type': 'application/json' };

describe('slow and broken clients', () => {
  let shop: TestApp;

  beforeAll(async () => {
    shop = await startApp({ env: { REQUEST_TIMEOUT_SECONDS: '2', MAX_CONNECTIONS: '60' } });
  });
  afterAll(() => shop.close());

  const connection = (sent?: string) => new RawConnection(shop.url, sent);

  function expectProblem({ status, headers, body }: RawAnswer, expected: number, code: string): void {
    expect({ status, ...(body as object) }).toMatchObject({ status: expected, code });
    expect(headers['content-type']).toBe('application/problem+json; charset=utf-8');
    expect(headers['x-content-type-options']).toBe('nosniff');
    expect(body).toMatchObject({
      type: `https://orderloom.dev/problems/${code}`,
      title: expect.stringMatching(/^[A-Z]/),
      detail: expect.stringMatching(/\S/),
      instance: expect.stringMatching(/^\//),
      traceId: headers['x-request-id'],
    });
  }

  describe('in time', () => {
    it.each([
      ['that sends nothing', ''],
      ['that sends half a request line', 'POST /v1/orders HT'],
      ['that never ends its headers', 'POST /v1/orders HTTP/1.1\r\nHost: test\r\n'],
      ['that sends no body', head('POST /v1/auth/token', { ...json, 'Content-Length': 100 })],
      ['that sends half a body', `${head('POST /v1/auth/token', { ...json, 'Content-Length': 100 })}{"username":`],
      [
        'that never ends its chunks',
        `${head('POST /v1/auth/token', { ...json, 'Transfer-Encoding': 'chunked' })}1\r\n{\r\n`,
      ],
    ])('cuts a client off %s: 408', async (_, sent) => {
      const answer = await connection(sent).answered;
      expectProblem(answer, 408, 'request-timeout');
      expect(answer.took).toBeGreaterThan(1500);
      expect(answer.took).toBeLessThan(15_000);
    });

    it('cuts off a client that sends a byte now and then', async () => {
      const slow = connection(head('POST /v1/auth/token', { ...json, 'Content-Length': 1000 }));
      const timer = setInterval(() => slow.write(' '), 100);
      const answer = await slow.answered;
      clearInterval(timer);
      expectProblem(answer, 408, 'request-timeout');
    });

    it('waits as long as the client asks it to with Prefer', async () => {
      const ada = await account(shop);
      // the payment takes longer than a request may take to arrive
      const placed = await ada.post('/v1/orders', anOrder({ paymentMethod: 'sandbox_slow' }), { prefer: 'wait=20' });
      expect(placed).toMatchObject({ status: 202, body: { status: 'fulfilling' } });
    });
  });

  describe('in number', () => {
    it('refuses connections beyond the limit, and serves again when there are fewer', async () => {
      const { app, url } = shop;
      const server = app.getHttpServer() as { getConnections(done: (error: unknown, count: number) => void): void };
      const open = () => new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)));
      const connections = Array.from({ length: 80 }, () => connection('GET /health/live HTTP/1.1\r\n'));
      const refused = (await Promise.all(connections.map(({ answered }) => answered))).filter(
        ({ status }) => status === 0,
      );
      expect(refused.length).toBeGreaterThanOrEqual(20);
      expect(refused.length).toBeLessThan(80);
      while ((await open()) > 50) await delay(20);
      expect((await fetch(`${url}/health/live`)).status).toBe(200);
    });
  });

  describe('in what is not HTTP', () => {
    it.each<[string, string, number, string]>([
      ['a method that there is not', 'FOO / HTTP/1.1\r\nHost: test\r\n\r\n', 501, 'method-unknown'],
      ['a version that there is not', 'GET / HTTP/9.9\r\nHost: test\r\n\r\n', 505, 'http-version-unsupported'],
      ['HTTP/2 without TLS', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505, 'http-version-unsupported'],
      ['the beginning of TLS', '\x16\x03\x01\x02\0\r\n\r\n', 400, 'malformed-http'],
      ['two hosts', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nhost: b\r\n\r\n', 400, 'host-ambiguous'],
      ['no HTTP at all', 'hello, hello\r\n\r\n', 400, 'malformed-http'],
      [
        'a length and chunks',
        `${head('POST /v1/auth/token', { ...json, 'Content-Length': 3, 'Transfer-Encoding': 'chunked' })}0\r\n\r\n`,
        400,
        'malformed-http',
      ],
      [
        'two lengths',
        'POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc',
        400,
        'malformed-http',
      ],
      ['a chunk of no size', `${head('POST / ', { 'Transfer-Encoding': 'chunked' })}zz\r\n`, 400, 'malformed-http'],
      ['headers of 20 kB', head('GET /health/live', { 'X-Long': 'x'.repeat(20_000) }), 431, 'headers-too-large'],
      ['bytes above ASCII in the address', head('GET /v1/products?text=\xff'), 400, 'malformed-http'],
    ])('answers %s with a problem', async (_, sent, status, code) => {
      expectProblem(await connection(sent).answered, status, code);
    });

    it('says which header is at fault', async () => {
      const details = [
        ['Content-Length: 3\r\nTransfer-Encoding: chunked', 'Send one Content-Length, or Transfer-Encoding: chunked'],
        ['Content-Length: 3\r\nContent-Length: 4', 'Send one Content-Length'],
        ['Content-Length: many', 'Content-Length must be the number of bytes'],
        ['A B: c', 'A header has a character'],
      ];
      for (const [headers, detail] of details) {
        const { body } = await connection(`POST / HTTP/1.1\r\nHost: test\r\n${headers}\r\n\r\n`).answered;
        expect({ headers, detail: body['detail'] }).toEqual({ headers, detail: expect.stringContaining(detail!) });
      }
    });

    it('answers HTTP/1.1 without a Host with a problem, and HTTP/1.0 as ever', async () => {
      expectProblem(
        await connection('GET /health/live HTTP/1.1\r\nConnection: close\r\n\r\n').answered,
        400,
        'host-missing',
      );
      expect(await connection('GET /health/live HTTP/1.0\r\n\r\n').answered).toMatchObject({ status: 200 });
    });

    it('ignores an expectation that it does not know', async () => {
      const sent = head('GET /health/live', { Expect: 'the best', Connection: 'close' });
      expect(await connection(sent).answered).toMatchObject({ status: 200, body: { status: 'ok' } });
    });
  });

  it('refuses a body in a million pieces before it has them all: 413', async () => {
    const many = connection(head('POST /v1/auth/token', { ...json, 'Transfer-Encoding': 'chunked' }));
    const pieces = '1\r\n \r\n'.repeat(10_000);
    for (let n = 0; n < 100; n++) {
      many.write(pieces);
      await many.flushed();
    }
    expectProblem(await many.answered, 413, 'too-many-chunks');
  });

  describe('many at once', () => {
    let database: TestDatabase;
    let directory: string;
    let app: AppProcess;
    let url: string;

    beforeAll(async () => {
      database = await createDatabase();
      directory = mkdtempSync(join(tmpdir(), 'orderloom-slow-'));
      const port = await freePort();
      url = `http://127.0.0.1:${port}`;
      app = new AppProcess({
        DATABASE_URL: database.url,
        DATA_DIR: directory,
        PORT: String(port),
        ADMIN_PASSWORD: 'orderloom-admin',
        REQUEST_TIMEOUT_SECONDS: '5',
        LOG_LEVEL: 'debug',
        // hundreds come from one address
        RATE_LIMIT_SIGN_IN: 'off',
      });
      await app.ready(url);
    }, 60_000);
    afterAll(async () => {
      await app.end();
      rmSync(directory, { recursive: true, force: true });
      await database.drop();
    });

    const residentMb = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${app.pid}/status`, 'utf8'))![1]) / 1024;
    const live = async () => (await fetch(`${url}/health/live`)).status;

    it('holds no more than 64 MiB of 300 unfinished bodies of 1 MB, and serves others meanwhile', async () => {
      const before = residentMb();
      const part = Buffer.alloc(1_000_000, ' ');
      const slow: RawConnection[] = [];
      for (let n = 0; n < 300; n++) {
        const next = new RawConnection(url, head('POST /v1/auth/token', { ...json, 'Content-Length': 1_000_001 }));
        next.write(part);
        slow.push(next);
        await next.flushed();
      }
      expect(residentMb() - before).toBeLessThan(250);
      expect(await live()).toBe(200);
      // a prompt client is served, whatever waits
      const body = JSON.stringify({ username: 'admin@orderloom.local', password: 'orderloom-admin' });
      const signedIn = await fetch(`${url}/v1/auth/token`, { method: 'POST', body, headers: json });
      expect(signedIn.status).toBe(200);
      const answers = await Promise.all(slow.map(({ answered }) => answered));
      const refused = answers.filter(({ status }) => status === 503);
      expect(refused.length).toBeGreaterThan(200);
      expectProblem(refused[0]!, 503, 'overloaded');
      expect(refused[0]!.headers['retry-after']).toMatch(/^\d+$/);
      // the others were cut off when their time was up
      expect(answers.filter(({ status }) => ![503, 408].includes(status))).toEqual([]);
      expect(await live()).toBe(200);
    }, 60_000);

    it('does not log a client that disconnects as an error', async () => {
      const half = head('POST /v1/auth/register', { ...json, 'Content-Length': 100 });
      for (const sent of ['', 'GET /he', half, `${half}{"username"`]) new RawConnection(url, sent).reset();
      const begun = new RawConnection(url, `${half}{"username"`);
      await begun.flushed();
      await live();
      begun.reset();
      await app.says(/DEBUG.*register: the client disconnected/);
      expect(app.output.split('\n').filter((line) => line.includes('ERROR'))).toEqual([]);
    });
  });
});
