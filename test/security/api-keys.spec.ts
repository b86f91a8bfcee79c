import { randomUUID } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { QueryBus } from '@nestjs/cqrs';
import { createApp } from '../../src/bootstrap';
import { readConfig } from '../../src/config/config';
import { scopes } from '../../src/kernel/http/scopes';
import { VerifyApiKey } from '../../src/modules/users/contracts/verify-api-key';
import { account, anOrder, idOf, order, query } from '../journeys/shop';
import { eventually } from '../kernel/support';
import { Api, type Json } from '../support/api';
import { startApp, type TestApp, tokenSecret } from '../support/app';

interface Key {
  readonly id: string;
  readonly key: string;
  /** Sends it as a bearer token, to the first process. */
  readonly api: Api;
}

describe('an API key', () => {
  let shop: TestApp;
  /** A second process on the same database. */
  let replica: { url: string; close: () => Promise<void> };
  let ada: Api;

  beforeAll(async () => {
    shop = await startApp({ env: { TRUSTED_PROXIES: '127.0.0.1' } });
    replica = await startReplica();
    ada = await account(shop);
  });
  afterAll(async () => {
    await replica.close();
    await shop.close();
  });

  async function startReplica() {
    const env = { NODE_ENV: 'test', DATABASE_URL: shop.databaseUrl, LOG_LEVEL: 'silent', TRUSTED_PROXIES: '127.0.0.1' };
    const app = await createApp({ config: readConfig(env), databaseUrl: shop.databaseUrl, secret: tokenSecret });
    await app.listen(0, '127.0.0.1');
    return { url: await app.getUrl(), close: () => app.close() };
  }

  async function keyOf(owner: Api, allowed = ['orders:read', 'orders:write', 'users:read'], more = {}): Promise<Key> {
    const { status, body } = await owner.post('/v1/api-keys', { name: 'import', scopes: allowed, ...more });
    expect({ status, body }).toMatchObject({ status: 201 });
    return { id: body['id'] as string, key: body['key'] as string, api: new Api(shop.url, body['key'] as string) };
  }
  const elsewhere = ({ token }: Api) => new Api(replica.url, token);
  const keysOf = async (api: Api) => (await api.all('/v1/api-keys')) as { id: string; lastUsedAt: string | null }[];
  const statusOf = async (api: Api) => (await api.get('/v1/orders')).status;

  async function expectEnded({ api }: Key): Promise<void> {
    for (const each of [elsewhere(api), api]) {
      expect(await each.get('/v1/orders')).toMatchObject({ status: 401, body: { code: 'unauthenticated' } });
    }
  }
  async function expectGood({ api }: Key): Promise<void> {
    for (const each of [elsewhere(api), api]) expect(await statusOf(each)).toBe(200);
  }
  /** A key that was never issued, but could have been. */
  function inventedKey(): string {
    const text = `ol_key_${randomUUID().replaceAll('-', '')}${'0'.repeat(11)}`;
    const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
    let checksum = '';
    for (let rest = crc32(text); checksum.length < 6; rest = Math.floor(rest / 62))
      checksum = alphabet[rest % 62] + checksum;
    return text + checksum;
  }

  it('acts for its account, on any process, in either header', async () => {
    const { key, api, id } = await keyOf(ada);
    expect(key).toMatch(/^ol_key_[0-9A-Za-z]{49}$/);
    const placed = await order(api);
    expect((await ada.get(`/v1/orders/${placed.body['id']}`)).body).toMatchObject({ customerId: await idOf(ada) });
    expect((await elsewhere(api).get(`/v1/orders/${placed.body['id']}`)).status).toBe(200);
    expect((await new Api(shop.url).get('/v1/orders', { 'x-api-key': key })).status).toBe(200);
    const [event] = await query(
      shop,
      `select metadata->>'actor' as actor from event_store.events where aggregate_id = $1`,
      [placed.body['id']],
    );
    expect(event).toEqual({ actor: `api-key:${id}` });
  });

  it('is refused beside another credential, whose rights it would seem to have', async () => {
    const { key } = await keyOf(ada, ['shipments:read']);
    const answer = await ada.get('/v1/users/me', { 'x-api-key': key });
    expect(answer).toMatchObject({ status: 400, body: { code: 'two-credentials' } });
  });

  it('sees nothing that its account does not', async () => {
    const hers = await order(ada, { submit: false });
    const { api } = await keyOf(await account(shop));
    expect((await api.get(`/v1/orders/${hers.body['id']}`)).status).toBe(404);
    expect((await api.get('/v1/orders')).body['data']).toEqual([]);
  });

  it('does what its scopes allow, and says which one is missing', async () => {
    const { api } = await keyOf(ada, ['orders:read']);
    expect(await statusOf(api)).toBe(200);
    const refused = await api.post('/v1/orders', anOrder());
    expect(refused).toMatchObject({
      status: 403,
      body: { code: 'scope-missing', detail: expect.stringContaining('orders:write') },
    });
    expect(refused.headers.get('www-authenticate')).toContain('error="insufficient_scope", scope="orders:write"');
  });

  it('does no more than the account may, whatever its scopes', async () => {
    const { api } = await keyOf(ada, ['operations:read', 'users:write', 'products:write']);
    expect((await api.get('/v1/operations/sagas')).status).toBe(403);
    expect((await api.post('/v1/users', { email: 'x@example.com', name: 'X' })).status).toBe(403);
    const staff = await keyOf(await account(shop, ['staff']), ['operations:read']);
    expect((await staff.api.get('/v1/operations/sagas')).status).toBe(200);
  });

  it('cannot make keys, or touch sessions, passwords and other credentials', async () => {
    const admin = await account(shop, ['admin']);
    const all = Object.keys(scopes);
    const { api, id } = await keyOf(admin, all);
    const userId = await idOf(admin);
    for (const answer of [
      await api.post('/v1/api-keys', { name: 'another', scopes: ['orders:read'] }),
      await api.get('/v1/api-keys'),
      await api.delete(`/v1/api-keys/${id}`),
      await api.get('/v1/users/me/sessions'),
      await api.delete('/v1/users/me/sessions'),
      await api.get(`/v1/users/${userId}/sessions`),
      await api.get(`/v1/users/${userId}/api-keys`),
      await api.post('/v1/users/me/password', { currentPassword: 'x', newPassword: 'correct horse battery staple' }),
      await api.post(`/v1/users/${userId}/password-reset`),
    ]) {
      expect(answer).toMatchObject({ status: 403, body: { code: 'sign-in-required' } });
    }
    expect((await api.post('/v1/auth/logout')).status).toBe(401);
  });

  it('is shown once, and leaves no trace in the database but its hash', async () => {
    const { key, id } = await keyOf(ada);
    const listed = (await keysOf(ada)).find((each) => each.id === id);
    expect(listed).toMatchObject({ start: key.slice(0, 11), name: 'import', expiresAt: null, lastUsedAt: null });
    expect(JSON.stringify(listed)).not.toContain(key);
    const tables = await query<{ name: string }>(
      shop,
      `select format('%I.%I', table_schema, table_name) as name from information_schema.tables
       where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')`,
    );
    for (const { name } of tables) {
      expect(await query(shop, `select from ${name} t where t::text like $1`, [`%${key}%`])).toEqual([]);
    }
  });

  it('says when it was used, without a write per request', async () => {
    const { api, id } = await keyOf(ada);
    const lastUse = async () => (await keysOf(ada)).find((each) => each.id === id)!.lastUsedAt;
    await statusOf(api);
    await eventually(async () => (await lastUse()) !== null);
    const first = await lastUse();
    for (let request = 0; request < 10; request++) await statusOf(request % 2 ? elsewhere(api) : api);
    expect(await lastUse()).toBe(first);
  });

  it('costs no query once it is known', async () => {
    const { api } = await keyOf(ada, ['orders:read']);
    await statusOf(api);
    const scans = async () =>
      (
        await query<{ scans: number }>(
          shop,
          `select coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0)::int as scans from pg_stat_user_tables
           where relname in ('users', 'api_keys', 'sessions')`,
        )
      )[0]!.scans;
    const before = await scans();
    // refused for the scope, which is after the key has been verified
    for (let request = 0; request < 100; request++) expect((await api.post('/v1/orders', {})).status).toBe(403);
    // sessions report what they have read up to a second later
    const deadline = Date.now() + 1500;
    while (Date.now() < deadline) await query(shop, 'select pg_sleep(0.1)');
    expect((await scans()) - before).toBeLessThan(50);
  });

  describe('ends at once on all processes', () => {
    it('when its owner ends it, each time', async () => {
      for (let round = 0; round < 20; round++) {
        const key = await keyOf(ada);
        await expectGood(key);
        expect((await ada.delete(`/v1/api-keys/${key.id}`)).status).toBe(204);
        await expectEnded(key);
        expect((await ada.delete(`/v1/api-keys/${key.id}`)).status).toBe(404);
      }
      expect((await keysOf(ada)).length).toBeLessThan(10);
    });

    it('when an administrator ends it, and nobody else can', async () => {
      const key = await keyOf(ada);
      const adaId = await idOf(ada);
      const eve = await account(shop);
      expect((await eve.delete(`/v1/api-keys/${key.id}`)).status).toBe(404);
      expect((await eve.delete(`/v1/users/${adaId}/api-keys/${key.id}`)).status).toBe(403);
      expect((await shop.admin.delete(`/v1/api-keys/${key.id}`)).status).toBe(404);
      await expectGood(key);
      const listed = (await shop.admin.all(`/v1/users/${adaId}/api-keys`)) as { id: string }[];
      expect(listed.map(({ id }) => id)).toContain(key.id);
      expect((await shop.admin.delete(`/v1/users/${adaId}/api-keys/${key.id}`)).status).toBe(204);
      await expectEnded(key);
      const events = await query(
        shop,
        `select event_type, payload->>'reason' as reason from event_store.events where aggregate_id = $1 order by version`,
        [key.id],
      );
      expect(events).toEqual([
        { event_type: 'user.api-key-created', reason: null },
        { event_type: 'user.api-key-ended', reason: 'ended-by-admin' },
      ]);
    });

    it('when its account is deactivated or erased', async () => {
      const [one, two] = [await account(shop), await account(shop)];
      const keys = [await keyOf(one), await keyOf(two)];
      for (const key of keys) await expectGood(key);
      await shop.admin.post(`/v1/users/${await idOf(one)}/deactivate`);
      const twoId = await idOf(two);
      await two.delete('/v1/users/me');
      for (const key of keys) await expectEnded(key);
      expect(await query(shop, 'select from users.api_keys where user_id = $1', [twoId])).toEqual([]);
    });

    it('when the password of its account changes', async () => {
      const customer = await shop.customer('Keyholder');
      const key = await keyOf(customer);
      await expectGood(key);
      const [currentPassword, newPassword] = ['correct horse battery staple', 'seven purple otters juggle'];
      expect((await customer.post('/v1/users/me/password', { currentPassword, newPassword })).status).toBe(204);
      await expectEnded(key);
    });

    it('whatever uses it at the same time', async () => {
      for (let round = 0; round < 10; round++) {
        const key = await keyOf(ada);
        const uses = Array.from({ length: 10 }, (_, nth) => statusOf(nth % 2 ? elsewhere(key.api) : key.api));
        await Promise.all([ada.delete(`/v1/api-keys/${key.id}`), ...uses]);
        await expectEnded(key);
      }
    });

    it('for a process that starts later as well', async () => {
      const key = await keyOf(ada);
      await ada.delete(`/v1/api-keys/${key.id}`);
      const third = await startReplica();
      try {
        expect(await statusOf(new Api(third.url, key.key))).toBe(401);
      } finally {
        await third.close();
      }
    });
  });

  it('has the roles of its account from their change on', async () => {
    const staff = await account(shop, ['staff']);
    const { api } = await keyOf(staff, ['operations:read']);
    for (const each of [api, elsewhere(api)]) expect((await each.get('/v1/operations/sagas')).status).toBe(200);
    const id = await idOf(staff);
    await shop.admin.put(`/v1/users/${id}/roles`, { roles: ['customer'] });
    for (const each of [api, elsewhere(api)]) expect((await each.get('/v1/operations/sagas')).status).toBe(403);
    await shop.admin.put(`/v1/users/${id}/roles`, { roles: ['admin'] });
    for (const each of [api, elsewhere(api)]) expect((await each.get('/v1/operations/sagas')).status).toBe(200);
  });

  describe('expires', () => {
    it('at its time, however often it was used before', async () => {
      const key = await keyOf(ada, undefined, { expiresAt: new Date(Date.now() + 2500).toISOString() });
      await expectGood(key);
      await eventually(async () => (await statusOf(key.api)) === 401 && (await statusOf(elsewhere(key.api))) === 401);
      expect((await keysOf(ada)).map(({ id }) => id)).not.toContain(key.id);
    });

    it('in the future only', async () => {
      const body = { name: 'late', scopes: ['orders:read'], expiresAt: '2020-01-01T00:00:00Z' };
      expect(await ada.post('/v1/api-keys', body)).toMatchObject({ status: 422, body: { code: 'expiry-past' } });
      expect((await ada.post('/v1/api-keys', { ...body, expiresAt: 'tomorrow' })).status).toBe(400);
    });
  });

  it.each([
    ['an unknown scope', { scopes: ['everything'] }],
    ['no scope', { scopes: [] }],
    ['a scope twice', { scopes: ['orders:read', 'orders:read'] }],
    ['no name', { name: '' }],
  ])('is not made with %s', async (_, change) => {
    expect((await ada.post('/v1/api-keys', { name: 'x', scopes: ['orders:read'], ...change })).status).toBe(400);
  });

  it('is one of at most 100 of an account, exactly, when many are made at once', async () => {
    const customer = await account(shop);
    const id = await idOf(customer);
    await query(
      shop,
      `insert into users.api_keys (id, user_id, key_hash, start, name, scopes)
       select gen_random_uuid(), $1, sha256(nth::text::bytea), 'ol_key_', 'key', '{orders:read}' from generate_series(1, 95) nth`,
      [id],
    );
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, nth) =>
        (nth % 2 ? elsewhere(customer) : customer).post('/v1/api-keys', { name: `${nth}`, scopes: ['orders:read'] }),
      ),
    );
    const outcomes = answers.map(({ status, body }) => `${status} ${body['code'] ?? ''}`).toSorted();
    expect(outcomes).toEqual([...Array<string>(5).fill('201 '), ...Array<string>(5).fill('409 too-many-api-keys')]);
  });

  it('shares its Idempotency-Keys with its account: a repeat by a newer key does nothing twice', async () => {
    const [older, newer] = [await keyOf(ada), await keyOf(ada)];
    const headers = { 'idempotency-key': randomUUID() };
    const first = await older.api.post('/v1/orders', anOrder(), headers);
    await ada.delete(`/v1/api-keys/${older.id}`);
    const second = await elsewhere(newer.api).post('/v1/orders', anOrder(), headers);
    expect(second.body['id']).toBe(first.body['id']);
    expect(second.headers.get('idempotent-replayed')).toBe('true');
    const other = await newer.api.post('/v1/orders', anOrder({ reference: 'other' }), headers);
    expect(other).toMatchObject({ status: 422, body: { code: 'idempotency-key-reused' } });
  });

  describe('that is none', () => {
    const send = (key: string, from: string, url = shop.url) =>
      new Api(url).get('/v1/orders', { authorization: `Bearer ${key}`, 'x-forwarded-for': from });

    it('is refused without a look-up when it is mistyped, cut off or made up', async () => {
      const { key } = await keyOf(ada);
      const changedAt = (place: number) =>
        key.slice(0, place) + (key[place] === 'a' ? 'b' : 'a') + key.slice(place + 1);
      const mistyped = Array.from({ length: 49 }, (_, nth) => changedAt('ol_key_'.length + nth));
      // more of them than unknown keys are looked up
      for (const wrong of [...mistyped, key.slice(0, -1), `${key}0`, 'ol_key_', `ol_key_${'x'.repeat(49)}`]) {
        expect((await send(wrong, '203.0.113.1')).status).toBe(401);
        expect((await new Api(shop.url).get('/v1/orders', { 'x-api-key': 'secret' })).status).toBe(401);
      }
      expect((await send(key, '203.0.113.1')).status).toBe(200);
    });

    it('is looked up no more after 20 unknown ones from an address within a minute', async () => {
      const { key } = await keyOf(ada);
      const other = await keyOf(ada);
      expect((await send(key, '203.0.113.2')).status).toBe(200);
      const statuses: number[] = [];
      // the same one again and again counts once
      const lost = inventedKey();
      for (let nth = 0; nth < 30; nth++) expect((await send(lost, '203.0.113.2')).status).toBe(401);
      for (let nth = 0; nth < 25; nth++) statuses.push((await send(inventedKey(), '203.0.113.2')).status);
      expect(statuses).toEqual([...Array<number>(19).fill(401), ...Array<number>(6).fill(429)]);
      const refused = await send(other.key, '203.0.113.2');
      expect(refused).toMatchObject({ status: 429, body: { code: 'too-many-attempts' } });
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(30);
      // one that the process knows goes on, and so do other addresses
      expect((await send(key, '203.0.113.2')).status).toBe(200);
      expect((await send(other.key, '203.0.113.3')).status).toBe(200);
    });

    it('is looked up no more often when many come at the same time; good ones among them only wait', async () => {
      const looked = jest.spyOn(shop.app.get(QueryBus), 'execute');
      const good = await Promise.all(Array.from({ length: 30 }, () => keyOf(ada)));
      const statuses = await Promise.all(good.map(async ({ key }) => (await send(key, '203.0.113.4')).status));
      expect(statuses).toEqual(good.map(() => 200));
      looked.mockClear();
      const answers = await Promise.all(Array.from({ length: 200 }, () => send(inventedKey(), '203.0.113.4')));
      expect(looked.mock.calls.filter(([query]) => query instanceof VerifyApiKey)).toHaveLength(20);
      looked.mockRestore();
      const refused = answers.filter(({ body }) => body['code'] === 'too-many-attempts');
      expect(refused).toHaveLength(180);
      expect((await send(good[0]!.key, '203.0.113.4')).status).toBe(200);
    });
  });

  it('is described in the document, with what it needs at each operation', async () => {
    const document = (await (await fetch(`${shop.url}/openapi.json`)).json()) as Json;
    expect(document.components.securitySchemes.apiKey).toMatchObject({
      type: 'apiKey',
      in: 'header',
      name: 'X-API-Key',
    });
    // Swagger UI scrolls its dialog to the first field of the last of these: to the user name
    expect(Object.keys(document.components.securitySchemes)).toEqual(['apiKey', 'password']);
    expect(document.paths['/v1/orders'].get.security).toEqual([{ password: [] }, { apiKey: [] }]);
    expect(document.paths['/v1/api-keys'].post.security).toEqual([{ password: [] }]);
    expect(document.paths['/v1/auth/logout'].post.security).toEqual(expect.arrayContaining([{}, { password: [] }]));
  });
});
