import { createHmac, randomUUID } from 'node:crypto';
import { request } from 'node:http';
import { openApi } from '../../src/gateway/openapi';
import { type Answer, Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { account, address, anOrder, expectBooksInOrder, idOf, order, ordersOf, query, tea } from '../journeys/shop';
import { builtOpenApi } from './open-api';
import { type Operation, operationsOf } from './operations';

/** For everybody. */
const open = [
  'GET /health/live',
  'GET /health/ready',
  'GET /metrics',
  'POST /v1/auth/register',
  'POST /v1/auth/token',
  'POST /v1/auth/refresh',
  'POST /v1/auth/logout',
  'POST /v1/auth/password-reset',
  'POST /v1/auth/password',
  'GET /v1/products',
  'GET /v1/products/{id}',
];
describe('access', () => {
  let shop: TestApp;
  let ada: Api;
  let eve: Api;
  let staff: Api;
  let anonymous: Api;
  let operations: Operation[];

  beforeAll(async () => {
    shop = await startApp();
    [ada, eve, staff] = await Promise.all([account(shop), account(shop), account(shop, ['staff'])]);
    anonymous = new Api(shop.url);
    operations = operationsOf(await builtOpenApi());
  });
  afterAll(() => shop.close());

  const fill = (path: string, ids: Record<string, string> = {}) =>
    path.replace(/\{(\w+)\}/g, (_, name: string) => ids[name] ?? (name === 'position' ? '1' : randomUUID()));
  const call = (api: Api, { method, path, body }: Operation, ids?: Record<string, string>, sent: unknown = body) =>
    send(api, method, fill(path, ids), sent === undefined ? undefined : JSON.stringify(sent));
  const asCustomer = ({ body }: Operation) => body && { ...body, unitPrice: undefined };
  const named = (name: string) => operations.find((operation) => operation.name === name)!;

  async function send(
    api: Api,
    method: string,
    path: string,
    body?: string | Buffer,
    headers: Record<string, string> = {},
  ): Promise<Answer & { path: string }> {
    const response = await fetch(shop.url + path, {
      method,
      body: body as string | undefined,
      headers: {
        ...(api.token && { authorization: `Bearer ${api.token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        'idempotency-key': randomUUID(),
        'if-match': '"1"',
        ...headers,
      },
    });
    const text = await response.text();
    const answered = /json/.test(response.headers.get('content-type') ?? '') ? JSON.parse(text) : { text };
    return { path, status: response.status, headers: response.headers, body: answered };
  }

  /** RFC 9457, and a trace by which we find it. */
  function expectProblem(answer: Answer, ...statuses: number[]): void {
    const { status, headers, body } = answer;
    const refused = statuses.includes(status) ? 'as it should be' : { status, ...body };
    expect(refused).toBe('as it should be');
    expect(headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
    expect(body).toMatchObject({
      type: `https://orderloom.dev/problems/${body['code']}`,
      title: expect.stringMatching(/^[A-Z]/),
      status,
      detail: expect.stringMatching(/\S/),
      instance: expect.stringMatching(/^\//),
      code: expect.stringMatching(/^[a-z][a-z_-]*$/),
      traceId: headers.get('x-request-id'),
    });
    expect(body['instance']).not.toContain('?');
    const known = ['type', 'title', 'status', 'detail', 'instance', 'code', 'traceId'];
    const also = ['errors', 'omitted', 'allowedActions', 'short', 'product', 'total', 'lines', 'orders', 'orderCount'];
    expect(Object.keys(body).filter((member) => ![...known, ...also].includes(member))).toEqual([]);
  }

  describe('of every operation', () => {
    it('is documented: there are some', () => {
      expect(operations.length).toBeGreaterThan(35);
      const running = operationsOf(openApi(shop.app));
      expect(operations.map(({ name }) => name).sort()).toEqual(running.map(({ name }) => name).sort());
      expect(
        operations
          .filter(({ access }) => access.role === 'anyone')
          .map(({ name }) => name)
          .sort(),
      ).toEqual(open.toSorted());
    });

    it('without signing in: 401, and how to sign in', async () => {
      for (const operation of operations.filter(({ name }) => !open.includes(name))) {
        const answer = await call(anonymous, operation);
        expect({ name: operation.name, status: answer.status }).toEqual({ name: operation.name, status: 401 });
        expectProblem(answer, 401);
        expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
      }
    });

    it('without signing in: the open ones', async () => {
      expect((await anonymous.get('/health/live')).status).toBe(200);
      expect((await anonymous.get('/health/ready')).status).toBe(200);
      expect((await send(anonymous, 'GET', '/metrics')).status).toBe(200);
      expect((await anonymous.get('/v1/products')).body['data']).toHaveLength(5);
      expect((await anonymous.get(`/v1/products/${tea}`)).status).toBe(200);
    });

    it('to somebody else’s order: 404, as for one that never was, and nothing changes', async () => {
      const hers = await order(ada, { submit: false });
      const ids = { id: hers.body['id'] as string, lineId: hers.body['lines'][0].lineId as string };
      const before = await ordersOf(ada, hers);
      const ofOrders = operations.filter(({ path }) => path.startsWith('/v1/orders/{id}'));
      expect(ofOrders.length).toBeGreaterThan(8);
      for (const operation of ofOrders) {
        for (const place of [ids, { ...ids, id: randomUUID() }]) {
          for (const headers of [{}, { 'if-match': '*' }] as Record<string, string>[]) {
            const path = fill(operation.path, place);
            const answer = await send(eve, operation.method, path, JSON.stringify(asCustomer(operation)), headers);
            expectProblem(answer, 404);
            expect(answer.body).toMatchObject({ code: 'order-unknown', detail: 'There is no such order.' });
          }
        }
      }
      expect(await ordersOf(ada, hers)).toEqual(before);
      expect(JSON.stringify(await eve.all('/v1/orders'))).not.toContain(ids.id);
    });

    it('to an order by the id of something else: 404', async () => {
      const placed = await order(ada, {}, { prefer: 'wait=10' });
      for (const id of [placed.body['paymentId'], placed.body['shipmentId'], tea] as string[]) {
        for (const operation of operations.filter(({ path }) => path.startsWith('/v1/orders/{id}'))) {
          expectProblem(await call(shop.admin, operation, { id }), 404, 412);
          expectProblem(await call(ada, operation, { id }, asCustomer(operation)), 404);
        }
      }
    });
  });

  describe('to the metrics', () => {
    const metricsToken = 'a-token-that-only-the-scraper-knows';
    const production = {
      NODE_ENV: 'production',
      PAYMENT_PROVIDER: 'sandbox',
      JWT_SECRET: 'a secret that only this test run knows, long enough',
    };

    it('is for everybody who reaches the port, unless it is said otherwise; they tell no names', async () => {
      const { body } = await send(anonymous, 'GET', '/metrics');
      expect(body['text']).toContain('orderloom_log_position');
      expect(body['text']).not.toMatch(/example\.com|Account|Lovelace|[0-9a-f]{8}-[0-9a-f]{4}-/);
    });

    it.each([
      ['in production', production],
      ['when they are off', { METRICS: 'false' }],
      ['when they are off, whatever the token', { METRICS: 'false', METRICS_TOKEN: metricsToken }],
    ])('there is none %s: 404', async (_, env: Record<string, string>) => {
      const other = await startApp({ env });
      try {
        for (const token of [undefined, metricsToken, other.admin.token]) {
          expectProblem(await new Api(other.url, token).get('/metrics'), 404);
        }
      } finally {
        await other.close();
      }
    });

    it('is there in production too, when it is said that nobody else reaches the port', async () => {
      const other = await startApp({ env: { ...production, METRICS: 'true' } });
      expect((await fetch(`${other.url}/metrics`)).status).toBe(200);
      await other.close();
    });

    it('with a token set, needs that one, and nobody’s access token will do', async () => {
      const other = await startApp({ env: { ...production, METRICS_TOKEN: metricsToken } });
      try {
        const read = (authorization?: string) =>
          fetch(`${other.url}/metrics`, { headers: authorization === undefined ? {} : { authorization } });
        const tokens = ['', 'x', metricsToken.slice(1), `${metricsToken}x`, metricsToken.toUpperCase()];
        const wrong = [...tokens, other.admin.token].map((token) => `Bearer ${token}`);
        for (const authorization of [undefined, metricsToken, `Basic ${metricsToken}`, ...wrong]) {
          const { status, headers } = await read(authorization);
          expect({ authorization, status }).toEqual({ authorization, status: 401 });
          expect(headers.get('www-authenticate')).toMatch(/^Bearer/);
        }
        expectProblem(await new Api(other.url, other.admin.token).get('/metrics'), 401);
        expect((await read(`Bearer ${metricsToken}`)).status).toBe(200);
        // it opens nothing else
        expectProblem(await new Api(other.url, metricsToken).get('/v1/orders'), 401);
      } finally {
        await other.close();
      }
    });
  });

  describe('with a token that', () => {
    const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const now = () => Math.floor(Date.now() / 1000);
    /** The one of {@link startApp}: else the first of these sentences fails. */
    const secret = 'a secret that only this test run knows, long enough';
    let valid: Record<string, unknown>;

    beforeAll(async () => {
      valid = {
        roles: ['customer'],
        use: 'access',
        ver: 1,
        sub: await idOf(ada),
        iss: 'orderloom',
        aud: 'orderloom-api',
        iat: now(),
        exp: now() + 600,
      };
    });

    function token(claims: object, { header = {}, key = secret, hash = 'sha256' } = {}): string {
      const text = `${base64({ alg: 'HS256', typ: 'JWT', ...header })}.${base64(claims)}`;
      return `${text}.${createHmac(hash, key).update(text).digest('base64url')}`;
    }
    const bearing = (text: string) => new Api(shop.url, text);

    it('is ours: in', async () => {
      expect((await bearing(token(valid)).get('/v1/users/me')).status).toBe(200);
    });

    it.each<[string, () => string]>([
      ['has no algorithm', () => `${base64({ alg: 'none' })}.${base64(valid)}.`],
      ['has NoNe', () => `${base64({ alg: 'NoNe' })}.${base64(valid)}.`],
      ['has lost its signature', () => token(valid).replace(/[^.]+$/, '')],
      ['has lost its end', () => token(valid).replace(/\.[^.]+$/, '')],
      ['has another’s signature', () => token(valid).replace(/[^.]+$/, token({}).split('.')[2]!)],
      ['was signed with another key', () => token(valid, { key: 'another secret, which is long enough' })],
      ['was signed with no key', () => token(valid, { key: '' })],
      ['was signed in another way', () => token(valid, { header: { alg: 'HS512' }, hash: 'sha512' })],
      ['says that it was signed in another way', () => token(valid, { header: { alg: 'RS256' } })],
      ['brings its key along', () => token(valid, { key: 'k', header: { jwk: { kty: 'oct', k: 'aw' }, kid: 'k' } })],
      ['has expired', () => token({ ...valid, exp: now() - 1 })],
      ['begins tomorrow', () => token({ ...valid, nbf: now() + 86_400 })],
      ['is for somebody else', () => token({ ...valid, aud: 'another-api' })],
      ['is for nobody', () => token({ ...valid, aud: undefined })],
      ['comes from somebody else', () => token({ ...valid, iss: 'somebody' })],
      ['comes from nobody', () => token({ ...valid, iss: undefined })],
      ['is for refreshing', () => token({ ...valid, use: 'refresh' })],
      ['has no use', () => token({ ...valid, use: undefined })],
      ['has no version', () => token({ ...valid, ver: undefined })],
      ['has a version that is no number', () => token({ ...valid, ver: '9' })],
      ['names nobody', () => token({ ...valid, sub: undefined })],
      ['has no roles', () => token({ ...valid, roles: undefined })],
      ['has roles that are no list', () => token({ ...valid, roles: 'admin' })],
      ['is no object', () => token(['admin'])],
      ['is no token', () => 'token'],
      ['is three dots', () => '...'],
      ['is very long', () => `${'a'.repeat(6000)}.b.c`],
    ])('%s: 401', async (_, forge) => {
      const api = bearing(forge());
      for (const path of ['/v1/users/me', '/v1/orders']) {
        const answer = await api.get(path);
        expectProblem(answer, 401);
        expect(answer.body['code']).toBe('unauthenticated');
      }
    });

    it('is changed in any part: 401', async () => {
      const [header, , signature] = token(valid).split('.');
      const promoted = `${header}.${base64({ ...valid, roles: ['admin'] })}.${signature}`;
      expectProblem(await bearing(promoted).get('/v1/users'), 401);
    });

    it('comes by another way than the header: 401', async () => {
      const text = token(valid);
      for (const [path, headers] of [
        [`/v1/users/me?access_token=${text}&token=${text}`, {}],
        ['/v1/users/me', { cookie: `access_token=${text}; token=${text}` }],
        ['/v1/users/me', { authorization: text }],
        ['/v1/users/me', { authorization: `Basic ${Buffer.from(`ada:${text}`).toString('base64')}` }],
        ['/v1/users/me', { authorization: `Bearer ${text} ${text}` }],
        ['/v1/users/me', { 'x-user-id': valid['sub'] as string, 'x-roles': 'admin' }],
      ] as const) {
        expectProblem(await anonymous.get(path, headers), 401);
      }
    });
  });

  describe('by signing in', () => {
    const signIn = (username: string, password: string) =>
      anonymous.post('/v1/auth/token', { grant_type: 'password', username, password });

    beforeAll(async () => {
      const registered = { email: 'mary@example.com', name: 'Mary', password: 'correct horse battery staple' };
      expect((await anonymous.post('/v1/auth/register', registered)).status).toBe(201);
    });

    it('works with the right password, as a form too, and whatever the case of the address', async () => {
      expect(await signIn('mary@example.com', 'correct horse battery staple')).toMatchObject({
        status: 200,
        body: { token_type: 'Bearer', expires_in: 900 },
      });
      const form = new URLSearchParams({ username: 'MARY@example.com', password: 'correct horse battery staple' });
      const answer = await send(anonymous, 'POST', '/v1/auth/token', form.toString(), {
        'content-type': 'application/x-www-form-urlencoded',
      });
      expect(answer.status).toBe(200);
      expect(Object.keys(answer.body).sort()).toEqual([
        'access_token',
        'expires_in',
        'refresh_expires_in',
        'refresh_token',
        'token_type',
      ]);
      const me = await new Api(shop.url, answer.body['access_token'] as string).get('/v1/users/me');
      expect(me.body).toMatchObject({ email: 'mary@example.com', roles: ['customer'] });
      expect(JSON.stringify(me.body)).not.toMatch(/password|argon/i);
    });

    it('answers alike for an account that there is, one that there is not, and one without a password', async () => {
      const { body } = await shop.admin.post('/v1/users', { email: 'nobody@example.com', name: 'No Password' });
      expect(body).toMatchObject({ email: 'nobody@example.com' });
      const alike = async (username: string) => {
        const answer = await signIn(username, 'wrong horse battery staple');
        expectProblem(answer, 401);
        const { traceId: _, ...rest } = answer.body;
        const { 'x-request-id': __, date: ___, ratelimit: ____, ...headers } = Object.fromEntries(answer.headers);
        return { rest, headers };
      };
      const known = await alike('mary@example.com');
      expect(known.rest).toMatchObject({ code: 'wrong-credentials' });
      expect(await alike('unknown@example.com')).toEqual(known);
      expect(await alike('nobody@example.com')).toEqual(known);
    });

    it('takes as long for the one as for the other', async () => {
      const quickest = { 'mary@example.com': Infinity, 'unknown@example.com': Infinity };
      // fewer than the failures that an account may have
      for (let round = 0; round < 8; round++) {
        for (const username of Object.keys(quickest) as (keyof typeof quickest)[]) {
          const began = performance.now();
          await signIn(username, 'wrong horse battery staple');
          quickest[username] = Math.min(quickest[username], performance.now() - began);
        }
      }
      const ratio = quickest['unknown@example.com'] / quickest['mary@example.com'];
      // without a hash to check the answer comes in a tenth of the time; a busy machine blurs the rest
      expect(ratio).toBeGreaterThan(0.35);
      expect(ratio).toBeLessThan(1 / 0.35);
    });

    it('ends with the account', async () => {
      const { data } = (await shop.admin.get('/v1/users?limit=100')).body;
      const { id } = data.find(({ email }: { email: string }) => email === 'mary@example.com');
      expect((await shop.admin.post(`/v1/users/${id}/deactivate`)).status).toBe(200);
      expectProblem(await signIn('mary@example.com', 'correct horse battery staple'), 401);
    });

    it('gives the roles of a customer, whatever a new account asks for', async () => {
      for (const member of ['role', 'roles', 'isAdmin', 'status', 'id', 'version']) {
        const body = { email: `${member}@example.com`, name: 'Eve', password: 'correct horse battery staple' };
        expectProblem(await anonymous.post('/v1/auth/register', { ...body, [member]: ['admin'] }), 400);
      }
    });
  });

  describe('by what is sent back', () => {
    const dangerous = ['id', 'role', 'roles', 'price', 'total', 'totalMinor', 'status', 'ownerId', 'userId', 'isAdmin'];

    it('changes nothing but what may be changed: every other member is refused', async () => {
      let tried = 0;
      for (const operation of operations.filter(({ body }) => body !== undefined)) {
        const takes = new Set(Object.keys(operation.body!));
        const optional = ['lines', 'guest', 'customerId', 'orderedAt', 'reference', 'line2', 'postalCode', 'unitPrice'];
        optional.push('description', 'price', 'scope', 'client_id', 'client_secret', 'paymentMethod', 'name');
        optional.push('refresh_token');
        for (const member of new Set([...dangerous, ...operation.responseMembers, '__proto', 'version'])) {
          if (takes.has(member) || optional.includes(member)) continue;
          tried++;
          const answer = await call(shop.admin, operation, {}, { ...operation.body, [member]: 'mine' });
          const { name } = operation;
          expect({ name, member, status: answer.status }).toEqual({ name, member, status: 400 });
          expectProblem(answer, 400);
          expect(answer.body['errors']).toEqual([
            { pointer: `/${member}`, message: expect.stringContaining('should not exist') },
          ]);
        }
      }
      expect(tried).toBeGreaterThan(150);
    });

    it('does so at every depth', async () => {
      const deep: [object, string][] = [
        [{ lines: [{ productId: tea, quantity: 1, price: 1 }] }, '/lines/0/price'],
        [{ lines: [{ productId: tea, quantity: 1, total: { amountMinor: 1 } }] }, '/lines/0/total'],
        [{ lines: [{ productId: tea, quantity: 1, unitPriceMinor: 1 }] }, '/lines/0/unitPriceMinor'],
        [{ shippingAddress: { ...address, id: 1 } }, '/shippingAddress/id'],
        [{ guest: { name: 'Eve', role: 'admin' } }, '/guest/role'],
      ];
      for (const [body, pointer] of deep) {
        const answer = await ada.post('/v1/orders', body);
        expectProblem(answer, 400);
        expect(answer.body['errors'][0].pointer).toBe(pointer);
      }
    });

    it('takes no order back as it was answered', async () => {
      const { body } = await order(ada, { submit: false });
      expectProblem(await ada.post('/v1/orders', body), 400);
      expectProblem(await ada.put(`/v1/orders/${body['id']}/shipping-address`, body), 400);
      const me = (await ada.get('/v1/users/me')).body;
      expectProblem(
        await ada.patch('/v1/users/me', { ...me, roles: ['admin'] }, { 'if-match': `"${me['version']}"` }),
        400,
      );
      expect((await ada.get('/v1/users/me')).body).toEqual(me);
    });
  });

  describe('with malice', () => {
    const nul = '\u0000';
    const half = '\ud800';
    const bracketed = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);

    it('in a query: nothing falls over, and nothing is found that was not asked for', async () => {
      const atoms = [
        "' or 1=1 --",
        "'; drop table orders.orders_view; --",
        '1) or (1=1',
        '%',
        '\\',
        '$1',
        '{"$gt":""}',
        '[object Object]',
        'constructor',
        '__proto__',
        'null',
        'NaN',
        '-1',
        '1e400',
        '1e30',
        '9007199254740993',
        '99999999999999999999',
        '+275760-09-13T00:00:00.000Z',
        '-271821-04-20T00:00:00.000Z',
        '0000-00-00',
        'infinity',
        '🫖',
        'x'.repeat(5000),
      ].map((atom) => encodeURIComponent(atom));
      atoms.push('%00', '%ff%fe', '%ed%a0%80', '%', '%u0000', '');
      const lists = operations.filter(({ method, query }) => method === 'GET' && query.length > 0);
      expect(lists.length).toBeGreaterThan(8);
      await order(ada);
      const reader = shop.admin;
      const { id } = (await reader.get('/v1/orders?limit=1')).body['data'][0] as { id: string };
      const ids = (path: string) => ({ id: path.includes('/orders/') ? id : tea });
      for (const { path, query } of lists) {
        const at = fill(path, ids(path));
        // paging is the same everywhere; what cursors may hold is told in the journeys
        const names = query.filter((name) => path === '/v1/orders' || !['limit', 'after'].includes(name));
        await Promise.all(
          names.map(async (name) => {
            for (const atom of atoms) {
              const answer = await reader.get(`${at}?${name}=${atom}`);
              expect({ path, name, atom, status: answer.status }).not.toMatchObject({ status: 500 });
              // 404: a past that the order never had
              if (answer.status !== 200)
                expectProblem(answer, 400, ...(['version', 'asOf'].includes(name) ? [404] : []));
              if (answer.status === 200 && /or%201/.test(atom)) expect(answer.body['data']).toEqual([]);
            }
          }),
        );
        // two of what may come once, nested ones, and what every object has
        const twisted = names.flatMap((name) => [`${name}=1&${name}=2`, `${name}[]=1`, `${name}[$ne]=1`]);
        twisted.push('constructor=1', '__proto__=1', '__proto__[limit]=1', 'hasOwnProperty=1', 'unknown=1', '%00=1');
        for (const search of twisted) {
          const answer = await reader.get(`${at}?${search}`);
          expect({ path, search, status: answer.status }).toEqual({ path, search, status: 400 });
          expectProblem(answer, 400);
        }
      }
      expect(await query(shop, 'select count(*)::int > 0 as there from orders.orders_view')).toEqual([{ there: true }]);
    }, 60_000);

    it('in a path: 400 for what is no id, 404 for what is not there', async () => {
      const bad = ['1', 'me', "'%20or%201=1", '%00', '..%2f..%2fetc', '%F0%9F%AB%96', `${tea}0`, 'x'.repeat(100)];
      for (const operation of operations.filter(({ path }) => path.includes('{id}'))) {
        for (const id of bad) {
          if (id === 'me' && ['/v1/users/{id}', '/v1/users/{id}/sessions'].includes(operation.path)) continue;
          expectProblem(await call(shop.admin, operation, { id, lineId: randomUUID() }), 400, 404);
        }
      }
      for (const lineId of bad) {
        expectProblem(await call(shop.admin, named('PATCH /v1/orders/{id}/lines/{lineId}'), { lineId }), 400, 404);
      }
      for (const path of ['/v1/orders/%ZZ', '/v1/orders/%', '/v1/%C0%AE%C0%AE/', `/v1/orders/${'x'.repeat(5000)}`]) {
        expectProblem(await shop.admin.get(path), 400, 404, 414);
      }
    });

    it('on a way that there is not: 404, in the same form', async () => {
      for (const [method, path] of [
        ['GET', '/v2'],
        ['GET', '/v2/orders'],
        ['GET', '/v1/orders/x/y/z'],
        ['PUT', '/v1/orders'],
        ['DELETE', '/v1/orders'],
        ['PATCH', '/v1/auth/token'],
        ['POST', '/health/live'],
      ] as const) {
        expectProblem(await send(shop.admin, method, path), 404, 405);
      }
    });

    it('in a body that is none: 400, 413 or 415', async () => {
      const post = (body: string | Buffer, headers = {}) => send(ada, 'POST', '/v1/orders', body, headers);
      for (const body of [
        ' ',
        '{',
        '{"lines":',
        "{'lines': []}",
        '{"lines": [],}',
        'undefined',
        'NaN',
        'true',
        '1',
        '"text"',
        '[]',
        '[{}]',
        '{} {}',
        '{"__proto__": {"submit": true}}',
        '{"constructor": {"prototype": {"submit": true}}}',
        '{"lines": [{"__proto__": {"quantity": 1}}]}',
        '{"lines": {"length": 1}}',
        '{"lines": {"0": {}, "length": 1e9}}',
        '{"toString": 1}',
        '{"hasOwnProperty": 1}',
        '{"then": 1}',
        Buffer.from([0xff, 0xfe, 0x7b, 0x7d]),
        Buffer.from('{"reference": "\xff"', 'latin1'),
        `{"lines": ${bracketed(25)}}`,
        `{"lines": ${bracketed(100_000)}}`,
        `{"guest": ${'{"name":'.repeat(50_000)}1${'}'.repeat(50_000)}}`,
        bracketed(100_000),
      ]) {
        const answer = await post(body);
        expect({ sent: body.slice(0, 80), status: answer.status }).toEqual({ sent: body.slice(0, 80), status: 400 });
        expectProblem(answer, 400);
      }
      const large = JSON.stringify({ reference: 'x'.repeat(1 << 20) });
      expectProblem(await post(large), 413);
      for (const type of ['text/plain', 'application/xml', 'multipart/form-data; boundary=x', 'text/html', 'x']) {
        expectProblem(await post('{}', { 'content-type': type }), 400, 415);
      }
    });

    it('in numbers', async () => {
      const { body } = await order(ada, { submit: false });
      const price = (amount: string) =>
        `{"sku": "N-${amount}", "name": "N", "price": {"amountMinor": ${amount}, "currency": "EUR"}}`;
      for (const number of ['1e400', '-1e400', '-1', '0.5', '1e-7', '"1"', '[1]', '{}', 'true', '1e21']) {
        const line = `{"productId": "${tea}", "quantity": ${number}}`;
        expectProblem(await send(ada, 'POST', '/v1/orders', `{"lines": [${line}]}`), 400);
        expectProblem(await send(ada, 'POST', `/v1/orders/${body['id']}/lines`, line, { 'if-match': '*' }), 400);
        expectProblem(await send(shop.admin, 'POST', '/v1/products', price(number)), 400);
      }
      for (const number of ['0', '9007199254740993', '1000001']) {
        const line = `{"productId": "${tea}", "quantity": ${number}}`;
        expectProblem(await send(ada, 'POST', '/v1/orders', `{"lines": [${line}]}`), 400);
      }
      expectProblem(await send(shop.admin, 'POST', '/v1/products', price('9007199254740993')), 400);
      for (const delta of ['1e400', '0.5', '2147483648', '-1000000001', '1e10']) {
        const path = `/v1/products/${tea}/stock-adjustments`;
        expectProblem(await send(staff, 'POST', path, `{"delta": ${delta}, "reason": "x"}`, { 'if-match': '*' }), 400);
      }
      for (const delta of [1_000_000_000, -1_000_000_000]) {
        for (let times = 0; times < 3; times++) {
          const answer = await staff.post(`/v1/products/${tea}/stock-adjustments`, { delta, reason: 'x' });
          if (answer.status !== 201) expectProblem(answer, 409);
        }
      }
    });

    it('in text that cannot be stored: 400, wherever it stands', async () => {
      let tried = 0;
      for (const operation of differing(operations)) {
        for (const text of [nul, half, `a${nul}b`, `a${half}b`, '\udc00\ud800']) {
          for (const body of poisoned(operation.body, text)) {
            tried++;
            expectProblem(await call(shop.admin, operation, {}, body), 400, 404);
          }
          expectProblem(await call(shop.admin, operation, {}, { ...operation.body, [text]: 1 }), 400, 404);
        }
      }
      expect(tried).toBeGreaterThan(50);
      const { body } = await order(ada, { submit: false });
      const path = `/v1/orders/${body['id']}/shipping-address`;
      for (const text of [nul, half]) {
        expectProblem(await ada.put(path, { ...address, line2: text }), 400);
        expectProblem(await ada.post('/v1/orders', anOrder({ reference: text })), 400);
      }
      const whole = { ...address, name: 'Ada 🫖\u{10ffff}', line2: 'a\ufeff\u202eb' };
      expect(await ada.put(path, whole)).toMatchObject({ status: 200, body: { shippingAddress: whole } });
    });

    it('in every member of every body: never a 500', async () => {
      const values: unknown[] = [null, true, -1, 1e21, '', "'; drop table x; --", 'x'.repeat(10_000), '2026-02-30'];
      values.push([], {}, [[]], { length: 1e9 });
      // without a refresh token, it ends the session of whoever asks
      const others = operations.filter(({ path }) => path !== '/v1/auth/logout');
      for (const operation of differing(others)) {
        const { name } = operation;
        const sound = 'submit' in operation.body! ? { ...operation.body, submit: false } : operation.body;
        for (const value of values) {
          await Promise.all(
            substituted(sound, value).map(async (body) => {
              const answer = await call(shop.admin, operation, {}, body);
              expect({ name, body, status: answer.status }).not.toMatchObject({ status: 500 });
              if (answer.status >= 300) expectProblem(answer, 400, 401, 403, 404, 409, 412, 422, 429, 503);
            }),
          );
        }
      }
    }, 60_000);

    it('in dates from before the calendar', async () => {
      for (const orderedAt of ['-271821-04-20T00:00:00Z', '-000001-01-01T00:00:00Z', '0000-01-01T00:00:00Z']) {
        expectProblem(await shop.admin.post('/v1/orders', { orderedAt }), 400);
      }
      const old = await shop.admin.post('/v1/orders', { orderedAt: '0001-01-01T00:00:00Z' });
      expect(old).toMatchObject({ status: 201, body: { orderedAt: '0001-01-01T00:00:00.000Z' } });
    });

    it('in headers', async () => {
      for (const headers of [
        { 'if-match': `"${'9'.repeat(500)}"` },
        { 'if-match': "'; drop table x; --" },
        { 'idempotency-key': 'k'.repeat(5000) },
        { authorization: `Bearer ${'x'.repeat(5000)}` },
      ] as Record<string, string>[]) {
        const answer = await send(ada, 'POST', '/v1/orders', '{"lines": []}', headers);
        if (answer.status !== 201) expectProblem(answer, 400, 401);
      }
      for (const prefer of ['wait=0', 'wait=-1', 'wait=1e9', 'wait', 'wait=abc', 'respond-async', '💥'.length + '']) {
        expect((await ada.post('/v1/orders', {}, { prefer })).status).toBe(201);
      }
      expect(await headerOfTwice()).toBeGreaterThanOrEqual(400);
    });

    it('leaves no trace of what it is made of', async () => {
      const answer = await ada.get('/v1/orders');
      for (const name of ['x-powered-by', 'server']) expect(answer.headers.get(name)).toBeNull();
      const problem = JSON.stringify((await ada.get('/v1/orders/1')).body);
      expect(problem).not.toMatch(/node_modules|\.ts\b|at \w+ \(|select |postgres/i);
    });

    it('leaves the books in order, and the shop open', async () => {
      const placed = await order(ada, {}, { prefer: 'wait=10' });
      expect(placed.body).toMatchObject({ status: 'fulfilling' });
      await expectBooksInOrder(shop);
    });

    /** Two Idempotency-Keys in one request, which fetch would join. */
    function headerOfTwice(): Promise<number> {
      return new Promise((resolve, reject) => {
        const sent = request(`${shop.url}/v1/orders`, {
          method: 'POST',
          headers: {
            authorization: `Bearer ${ada.token}`,
            'content-type': 'application/json',
            'idempotency-key': ['k'.repeat(200), 'l'.repeat(200)],
          },
        });
        sent.on('response', (response) => resolve(response.resume().statusCode!)).on('error', reject);
        sent.end('{}');
      });
    }
  });
});

/** Operations that take a body, one for each body. */
function differing(operations: readonly Operation[]): Operation[] {
  const seen = new Map(operations.map((operation) => [JSON.stringify(operation.body), operation]));
  return [...seen.values()].filter(({ body }) => body !== undefined);
}

/** The body once for each of its members, with that one replaced. */
function substituted(body: unknown, value: unknown): unknown[] {
  if (typeof body !== 'object' || body === null) return [value];
  return Object.keys(body).flatMap((name) =>
    [...substituted((body as Record<string, unknown>)[name], value), value].map((member) =>
      Array.isArray(body) ? [member] : { ...body, [name]: member },
    ),
  );
}

/** As {@link substituted}, but only where a text was. */
function poisoned(body: unknown, text: string): unknown[] {
  if (typeof body === 'string') return [text];
  if (typeof body !== 'object' || body === null) return [];
  return Object.keys(body).flatMap((name) =>
    poisoned((body as Record<string, unknown>)[name], text).map((member) =>
      Array.isArray(body) ? [member] : { ...body, [name]: member },
    ),
  );
}
