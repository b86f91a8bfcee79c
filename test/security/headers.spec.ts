import { fastify } from 'fastify';
import { secureHeaders } from '../../src/gateway/security-headers';
import { account, anOrder } from '../journeys/shop';
import { Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';

describe('the headers of an answer', () => {
  let shop: TestApp;
  let ada: Api;

  beforeAll(async () => {
    shop = await startApp();
    ada = await account(shop);
  });
  afterAll(() => shop.close());

  const get = (path: string, headers: Record<string, string> = {}) => fetch(shop.url + path, { headers });

  it('let a browser neither guess a type, nor frame or load anything, nor tell where it came from', async () => {
    const { token } = ada;
    const answers = [
      await get('/v1/products'),
      await get('/v1/orders', { authorization: `Bearer ${token}` }),
      await get('/v1/orders'),
      await get('/v1/nowhere'),
      await get('/v1/%ff'),
      await get('/v1/products?text=%ff'),
      await get(`/v1/products/${'x'.repeat(200)}`),
      await get('/health/live'),
      await get('/openapi.json'),
      await fetch(`${shop.url}/v1/auth/token`, { method: 'POST', body: '{', headers: { 'content-type': 'text/html' } }),
    ];
    for (const { url, headers } of answers) {
      expect({ url, ...Object.fromEntries(headers) }).toMatchObject({
        'x-content-type-options': 'nosniff',
        'content-security-policy': "default-src 'none';frame-ancestors 'none'",
        'referrer-policy': 'no-referrer',
        'cache-control': 'no-store',
      });
    }
  });

  it('keep tokens and personal data out of caches', async () => {
    const credentials = { email: 'cached@example.com', name: 'Ada', password: 'correct horse battery staple' };
    const anonymous = new Api(shop.url);
    const answers = [
      await anonymous.post('/v1/auth/register', credentials),
      await anonymous.post('/v1/auth/token', { username: credentials.email, password: credentials.password }),
      await anonymous.post('/v1/auth/token', { username: credentials.email, password: 'not the right one' }),
      await ada.get('/v1/orders'),
      await ada.post('/v1/orders', anOrder()),
    ];
    expect(answers.map(({ headers }) => headers.get('cache-control'))).toEqual(answers.map(() => 'no-store'));
  });

  it('ask for TLS only where there is TLS', async () => {
    expect((await get('/v1/products')).headers.get('strict-transport-security')).toBeNull();
    // who is no trusted proxy cannot claim it
    const claimed = await get('/v1/products', { 'x-forwarded-proto': 'https' });
    expect(claimed.headers.get('strict-transport-security')).toBeNull();
    const behindProxy = fastify({ trustProxy: true });
    await secureHeaders(behindProxy);
    behindProxy.get('/', () => 'ok');
    const { headers } = await behindProxy.inject({ url: '/', headers: { 'x-forwarded-proto': 'https' } });
    expect(headers['strict-transport-security']).toBe('max-age=31536000');
    await behindProxy.close();
  });

  describe('of Swagger UI', () => {
    it('allow its scripts, as files of its own, and no others', async () => {
      const page = await get('/docs');
      const policy = page.headers.get('content-security-policy')!;
      const scripts = /script-src ([^;]*)/.exec(policy)![1];
      expect(scripts).toBe("'self'");
      expect(policy).toContain("default-src 'none'");
      expect(policy).toContain("frame-ancestors 'none'");
      expect(policy).toContain("connect-src 'self'");
      const html = await page.text();
      const tags = html.match(/<script[^>]*>[^<]*/g)!;
      expect(tags.length).toBeGreaterThan(1);
      for (const tag of tags) expect(tag).toMatch(/^<script src="[^":]+">\s*$/);
      expect(html).not.toMatch(/\son\w+=|javascript:/i);
    });

    it('are on its files too, which have the types that they need', async () => {
      for (const [path, type] of [
        ['/docs/', /^text\/html/],
        ['/docs/swagger-ui.css', /^text\/css/],
        ['/docs/swagger-ui-bundle.js', /^(text|application)\/javascript/],
        ['/docs/swagger-ui-init.js', /^(text|application)\/javascript/],
      ] as const) {
        const { status, headers } = await get(path);
        expect({ path, status }).toEqual({ path, status: 200 });
        expect(headers.get('content-type')).toMatch(type);
        expect(headers.get('x-content-type-options')).toBe('nosniff');
        expect(headers.get('content-security-policy')).toContain("script-src 'self'");
      }
    });

    it('are those of the API on a path that only begins alike', async () => {
      const { headers } = await get('/docsearch');
      expect(headers.get('content-security-policy')).toBe("default-src 'none';frame-ancestors 'none'");
      expect(headers.get('cache-control')).toBe('no-store');
    });
  });
});
