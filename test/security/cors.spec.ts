import { account, anOrder } from '../journeys/shop';
import type { Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';

const origin = 'https://shop.example.com';
const local = 'http://localhost:5173';
const preflight = { 'access-control-request-method': 'PATCH', 'access-control-request-headers': 'if-match,x-own' };

const call = (shop: TestApp, method: string, path: string, headers: Record<string, string> = {}) =>
  fetch(shop.url + path, { method, headers });
const ofCors = ({ headers }: Response) =>
  Object.fromEntries([...headers].filter(([name]) => name.startsWith('access-control-')));

describe('a script of another web site', () => {
  let shop: TestApp;
  let ada: Api;

  beforeAll(async () => {
    shop = await startApp({ env: { CORS_ORIGINS: `${origin}, ${local}` } });
    ada = await account(shop);
  });
  afterAll(() => shop.close());

  it('of an origin that is listed is let in, without credentials, before it has to sign in', async () => {
    for (const each of [origin, local]) {
      for (const path of ['/v1/orders', '/v1/users/me', '/v1/auth/token', '/v1/nowhere', '/health/live', '/']) {
        const asked = await call(shop, 'OPTIONS', path, { origin: each, ...preflight });
        expect({ path, status: asked.status, ...ofCors(asked) }).toEqual({
          path,
          status: 204,
          'access-control-allow-origin': each,
          'access-control-allow-methods': 'DELETE, GET, HEAD, PATCH, POST, PUT',
          'access-control-allow-headers': 'if-match,x-own',
          'access-control-max-age': '7200',
          'access-control-expose-headers': expect.stringContaining('ETag'),
        });
        expect(asked.headers.get('vary')).toContain('Origin');
      }
    }
  });

  it('reads responses and refusals, and the headers that it needs', async () => {
    const signedIn = { origin, authorization: `Bearer ${ada.token}` };
    const answers = [
      await call(shop, 'GET', '/v1/products', { origin }),
      await call(shop, 'GET', '/v1/users/me', signedIn),
      await call(shop, 'GET', '/v1/users/me', { origin }),
      await call(shop, 'GET', '/v1/payments', signedIn),
      await call(shop, 'PUT', '/v1/orders', { origin }),
      await call(shop, 'GET', '/v1/nowhere', { origin }),
      await call(shop, 'POST', '/v1/auth/token', { origin }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 401, 403, 405, 404, 400]);
    for (const answer of answers) {
      expect(ofCors(answer)).toEqual({
        'access-control-allow-origin': origin,
        'access-control-expose-headers': expect.stringContaining('Idempotent-Replayed, Location'),
      });
      expect(answer.headers.get('vary')).toMatch(/^Origin/);
    }
    const unchanged = await call(shop, 'GET', '/v1/users/me', {
      ...signedIn,
      'if-none-match': answers[1]!.headers.get('etag')!,
    });
    expect([unchanged.status, unchanged.headers.get('vary')]).toEqual([304, 'Origin, Authorization, X-API-Key']);
  });

  it('of any other origin is told nothing', async () => {
    const others = [
      'https://evil.example',
      'https://shop.example.com.evil.example',
      'http://shop.example.com',
      'https://SHOP.example.com',
      'https://shop.example.com:8443',
      'null',
    ];
    for (const other of others) {
      for (const answer of [
        await call(shop, 'OPTIONS', '/v1/orders', { origin: other, ...preflight }),
        await call(shop, 'GET', '/v1/products', { origin: other }),
      ]) {
        expect({ other, allowed: answer.headers.get('access-control-allow-origin') }).toEqual({ other, allowed: null });
        expect(answer.headers.get('access-control-allow-credentials')).toBeNull();
        expect(answer.headers.get('vary')).toContain('Origin');
      }
    }
  });

  it('makes no difference to other clients, except that caches keep responses apart', async () => {
    const answer = await call(shop, 'GET', '/v1/products');
    expect([answer.status, answer.headers.get('vary')]).toEqual([200, 'Origin']);
    const options = await call(shop, 'OPTIONS', '/v1/orders');
    expect([options.status, options.headers.get('allow')]).toEqual([204, 'GET, HEAD, OPTIONS, POST']);
    expect((await ada.post('/v1/orders', anOrder())).status).toBe(202);
  });
});

describe('without CORS_ORIGINS', () => {
  let shop: TestApp;

  beforeAll(async () => {
    shop = await startApp();
  });
  afterAll(() => shop.close());

  it('no script of another web site is let in', async () => {
    for (const answer of [
      await call(shop, 'OPTIONS', '/v1/orders', { origin, ...preflight }),
      await call(shop, 'GET', '/v1/products', { origin }),
    ]) {
      expect(ofCors(answer)).toEqual({});
      expect(answer.headers.get('vary')).toBeNull();
    }
  });

  it('/ leads to the documentation, also below a path of a proxy', async () => {
    const { status, headers } = await fetch(shop.url, { redirect: 'manual' });
    expect([status, headers.get('location')]).toEqual([302, 'docs']);
    const shown = await fetch(shop.url);
    expect([shown.status, shown.url]).toEqual([200, `${shop.url}/docs`]);
  });
});

describe('without documentation', () => {
  it('/ says where the API is, and no page of it is there', async () => {
    const shop = await startApp({ env: { DOCS: 'false' } });
    try {
      const { status, headers, body } = await shop.admin.get('/');
      expect({ status, body }).toEqual({
        status: 200,
        body: { name: 'Orderloom', api: '/v1', health: '/health/ready' },
      });
      expect(headers.get('content-type')).toContain('application/json');
      expect((await fetch(`${shop.url}${String(body['health'])}`)).status).toBe(200);
      for (const path of ['/docs', '/openapi.json']) expect((await shop.admin.get(path)).status).toBe(404);
    } finally {
      await shop.close();
    }
  });
});
