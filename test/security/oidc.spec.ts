import { randomUUID } from 'node:crypto';
import { base64url, exportSPKI, importJWK, SignJWT } from 'jose';
import { createApp } from '../../src/bootstrap';
import { readConfig } from '../../src/config/config';
import { account, address, anOrder, idOf, query } from '../journeys/shop';
import { eventually } from '../kernel/support';
import { type Answer, Api } from '../support/api';
import { startApp, type TestApp, tokenSecret } from '../support/app';
import { IdentityProvider } from '../support/identity-provider';

/** A second process on the database of `shop`. */
async function replicaOf(shop: TestApp, env: Record<string, string>) {
  const config = readConfig({ NODE_ENV: 'test', DATABASE_URL: shop.databaseUrl, LOG_LEVEL: 'silent', ...env });
  const app = await createApp({ config, databaseUrl: shop.databaseUrl, secret: tokenSecret });
  await app.listen(0, '127.0.0.1');
  return { url: await app.getUrl(), close: () => app.close() };
}

const now = () => Math.floor(Date.now() / 1000);

describe('an access token of the identity provider', () => {
  let provider: IdentityProvider;
  let shop: TestApp;
  let replica: { url: string; close: () => Promise<void> };

  beforeAll(async () => {
    provider = await IdentityProvider.start();
    const roles = { OIDC_ROLES_CLAIM: 'realm_access.roles', OIDC_ROLES: 'shop-admin=admin, shop-staff=staff' };
    shop = await startApp({ env: { ...provider.env, ...roles } });
    replica = await replicaOf(shop, { ...provider.env, ...roles });
  });
  afterAll(async () => {
    await replica.close();
    await shop.close();
    await provider.stop();
  });

  const as = (token: string) => new Api(shop.url, token);
  const me = (token: string) => as(token).get('/v1/users/me');
  const signedIn = async (claims: Record<string, unknown> = {}) => as(await provider.token({ claims }));

  function expectRefused(answer: Answer): void {
    expect(answer).toMatchObject({ status: 401, body: { code: 'unauthenticated' } });
  }

  it('opens an account at first sight, and finds it again by another token', async () => {
    const claims = { sub: randomUUID(), name: 'Ada', email: 'ada@example.com', email_verified: true };
    const first = await me(await provider.token({ claims }));
    expect(first).toMatchObject({
      status: 200,
      body: { name: 'Ada', email: 'ada@example.com', roles: ['customer'], status: 'active' },
    });
    const again = await me(await provider.token({ claims: { ...claims, name: 'Countess', email: 'new@example.com' } }));
    expect(again.body).toEqual(first.body);
  });

  it('places an order, which names its account as the actor', async () => {
    const ada = await signedIn();
    const placed = await ada.post('/v1/orders', anOrder({ shippingAddress: address }));
    expect(placed.status).toBe(202);
    const [event] = await query(
      shop,
      `select metadata ->> 'actor' as actor from event_store.events
       where event_type = 'order.created' and payload ->> 'orderId' = $1`,
      [placed.body['id']],
    );
    expect(event).toEqual({ actor: `user:${await idOf(ada)}` });
  });

  it('opens one account for requests that come at the same time over two processes', async () => {
    const sub = randomUUID();
    const claims = { sub, name: 'Grace', email: 'grace@example.com', email_verified: true };
    const tokens = await Promise.all(
      Array.from({ length: 20 }, (_, nth) => provider.token({ claims: { ...claims, nth } })),
    );
    const answers = await Promise.all(
      tokens.map((token, nth) => new Api(nth % 2 ? replica.url : shop.url, token).get('/v1/users/me')),
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    expect(new Set(answers.map(({ body }) => body['id'])).size).toBe(1);
    expect(answers[0]!.body).toMatchObject({ email: 'grace@example.com' });
    expect(await query(shop, `select 1 from users.users where name = 'Grace'`)).toHaveLength(1);
  });

  it('does not change the ids of the request that opens the account: a repeat is recognised', async () => {
    const claims = { sub: randomUUID(), realm_access: { roles: ['shop-staff'] } };
    const key = { 'idempotency-key': randomUUID() };
    const body = { email: 'opened@example.com', name: 'Opened', invite: false };
    const [first, second] = [await signedIn(claims), await signedIn(claims)];
    const opened = await first.post('/v1/users', body, key);
    expect(opened.status).toBe(201);
    expect((await second.post('/v1/users', body, key)).body).toMatchObject({ id: opened.body['id'] });
  });

  describe('with roles', () => {
    const products = '/v1/operations/sagas';
    const withRoles = (roles: unknown) => signedIn({ realm_access: { roles } });

    it('may do what its mapped roles may, and says so', async () => {
      const [staff, admin] = [await withRoles(['shop-staff', 'other']), await withRoles(['shop-admin'])];
      expect((await staff.get(products)).status).toBe(200);
      expect((await staff.get('/v1/users')).status).toBe(403);
      expect((await admin.get('/v1/users')).status).toBe(200);
      expect((await admin.get('/v1/users/me')).body).toMatchObject({ roles: ['customer', 'admin'] });
    });

    it('is a customer with none that is mapped, and with names of our own roles', async () => {
      for (const roles of [['admin', 'staff', 'Shop-Admin'], 'admin', 7, null, { admin: true }, [['shop-admin']]]) {
        expect((await (await withRoles(roles)).get(products)).status).toBe(403);
      }
      const elsewhere = await signedIn({ roles: ['shop-admin'], 'realm_access.role': ['shop-admin'] });
      expect((await elsewhere.get(products)).status).toBe(403);
    });

    it('loses them with the next token of the provider that does not name them', async () => {
      const sub = randomUUID();
      expect((await (await signedIn({ sub, realm_access: { roles: ['shop-staff'] } })).get(products)).status).toBe(200);
      expect((await (await signedIn({ sub })).get(products)).status).toBe(403);
    });

    it('is no administrator who could take the place of the last one here', async () => {
      const owner = await signedIn();
      await query(shop, `update users.users set roles = '{customer,admin}' where id = $1`, [await idOf(owner)]);
      const last = await shop.admin.put(`/v1/users/${await idOf(shop.admin)}/roles`, { roles: ['customer'] });
      expect(last).toMatchObject({ status: 409, body: { code: 'last-admin' } });
    });

    it('has no others by an API key either, not even those that it was given before OIDC_ROLES was set', async () => {
      const owner = await signedIn();
      const made = await owner.post('/v1/api-keys', { name: 'old', scopes: ['payments:read', 'orders:read'] });
      await query(shop, `update users.users set roles = '{customer,staff,admin}' where id = $1`, [await idOf(owner)]);
      const key = as(made.body['key']);
      expect((await key.get('/v1/orders')).status).toBe(200);
      expect(await key.get('/v1/payments')).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    });

    it('does not get other roles here, where they would have no effect', async () => {
      const id = await idOf(await withRoles(['shop-staff']));
      expect(await shop.admin.put(`/v1/users/${id}/roles`, { roles: ['customer', 'admin'] })).toMatchObject({
        status: 409,
        body: { code: 'roles-elsewhere' },
      });
    });
  });

  describe('with scopes', () => {
    it('is limited to those of ours that it names', async () => {
      for (const claims of [{ scope: 'openid orders:read' }, { scp: ['orders:read'] }]) {
        const limited = await signedIn(claims);
        expect((await limited.get('/v1/orders')).status).toBe(200);
        expect(await limited.post('/v1/orders', anOrder())).toMatchObject({
          status: 403,
          body: { code: 'scope-missing' },
        });
      }
    });

    it('is not limited when it names none of ours', async () => {
      const ada = await signedIn({ scope: 'openid profile constructor' });
      expect((await ada.post('/v1/orders', anOrder())).status).toBe(202);
    });
  });

  describe('is refused', () => {
    it.each<[string, Record<string, unknown>]>([
      ['for another audience', { aud: 'another-api' }],
      ['for no audience', { aud: undefined }],
      ['of another issuer', { iss: 'https://elsewhere.example.com' }],
      ['of an issuer that differs by a slash', { iss: undefined }],
      ['that has expired', { exp: now() - 60 }],
      ['that does not expire', { exp: undefined }],
      ['that is not yet valid', { nbf: now() + 3600 }],
      ['without a subject', { sub: undefined }],
      ['with an empty subject', { sub: '' }],
      ['that is an ID token by its claims', { at_hash: 'MTIzNDU2Nzg5MDEyMzQ1Ng' }],
      ['that is an ID token of Keycloak', { typ: 'ID' }],
      ['that is an ID token of Cognito', { token_use: 'id' }],
      ['that is a logout token', { events: { 'http://schemas.openid.net/event/backchannel-logout': {} } }],
      ['that is bound to a key of its client', { cnf: { jkt: '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I' } }],
    ])('when it is one %s', async (_, claims) => {
      const changed = 'iss' in claims && claims['iss'] === undefined ? { iss: `${provider.issuer}/` } : claims;
      expectRefused(await me(await provider.token({ claims: changed })));
    });

    it.each(['id_token+jwt', 'logout+jwt', 'dpop+jwt'])('with the type %s', async (typ) => {
      expectRefused(await me(await provider.token({ header: { typ } })));
    });

    it('when it is not signed', async () => {
      const [, claims] = (await provider.token()).split('.');
      for (const alg of ['none', 'NONE', 'None']) {
        const header = base64url.encode(JSON.stringify({ alg, typ: 'JWT', kid: 'first' }));
        expectRefused(await me(`${header}.${claims}.`));
      }
    });

    it('when it is signed with the public key as if that were a secret', async () => {
      const { d: _, p: _p, q: _q, dp: _dp, dq: _dq, qi: _qi, ...jwk } = provider.service.issuer.keys.get('first')!;
      const pem = await exportSPKI((await importJWK(jwk, 'RS256', { extractable: true })) as never);
      for (const secret of [pem, pem.trim(), JSON.stringify(jwk), String(jwk['n'])]) {
        const forged = new SignJWT({ aud: 'orderloom-api', iss: provider.issuer, sub: 'eve', exp: now() + 60 });
        const token = forged.setProtectedHeader({ alg: 'HS256', kid: 'first' }).sign(new TextEncoder().encode(secret));
        expectRefused(await me(await token));
      }
    });

    it('when it brings its own key', async () => {
      const stranger = await IdentityProvider.start();
      const { d: _, p: _p, q: _q, dp: _dp, dq: _dq, qi: _qi, ...jwk } = stranger.service.issuer.keys.get('first')!;
      const header = { jwk, jku: `${stranger.issuer}/jwks` };
      expectRefused(await me(await stranger.token({ claims: { iss: provider.issuer }, header })));
      expect(stranger.requests).toEqual([]);
      await stranger.stop();
    });

    it('when a character of it is changed', async () => {
      const [header, , signature] = (await provider.token()).split('.');
      const claims = { iss: provider.issuer, aud: 'orderloom-api', sub: 'eve', exp: now() + 60 };
      expectRefused(await me(`${header}.${base64url.encode(JSON.stringify(claims))}.${signature}`));
      for (const text of ['a.b.c', '..', `${header}..${signature}`, `.${base64url.encode('null')}.`]) {
        expectRefused(await me(text));
      }
    });

    it('when it is one of ours that names the provider', async () => {
      const ours = (await account(shop)).token!;
      expect((await me(ours)).status).toBe(200);
      const claims = JSON.parse(Buffer.from(ours.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>;
      const forged = new SignJWT({ ...claims, iss: provider.issuer }).setProtectedHeader({ alg: 'HS256' });
      expectRefused(await me(await forged.sign(new TextEncoder().encode(tokenSecret))));
    });
  });

  it('is accepted with a clock that is a little wrong', async () => {
    expect((await me(await provider.token({ claims: { exp: now() - 10, nbf: now() + 10 } }))).status).toBe(200);
  });

  it.each([{ typ: 'at+jwt' }, { typ: 'application/at+jwt' }, { typ: 'JWT' }])('is accepted with %o', async (header) => {
    expect((await me(await provider.token({ header, claims: { aud: ['other', 'orderloom-api'] } }))).status).toBe(200);
  });

  describe('of an account that ends', () => {
    /** In both processes, from the next request on, with this token and with a new one. */
    async function expectEnded(token: string, sub: string): Promise<void> {
      for (const url of [replica.url, shop.url]) {
        for (const each of [token, await provider.token({ claims: { sub } })]) {
          const answer = await new Api(url, each).get('/v1/users/me');
          expectRefused(answer);
          expect(answer.body['detail']).toContain('closed');
        }
      }
    }

    async function known() {
      const sub = randomUUID();
      const token = await provider.token({ claims: { sub } });
      expect((await new Api(replica.url, token).get('/v1/users/me')).status).toBe(200);
      return { sub, token, id: await idOf(as(token)) };
    }

    it('ends when it is deactivated, in all processes at once', async () => {
      for (let round = 0; round < 10; round++) {
        const { sub, token, id } = await known();
        expect((await shop.admin.post(`/v1/users/${id}/deactivate`)).status).toBe(200);
        await expectEnded(token, sub);
      }
    });

    it('ends when it is erased, and opens no other account', async () => {
      const { sub, token, id } = await known();
      expect((await as(token).delete('/v1/users/me')).status).toBe(204);
      await expectEnded(token, sub);
      expect((await shop.admin.get(`/v1/users/${id}`)).body).toMatchObject({ status: 'erased', email: '[erased]' });
    });

    it('keeps nothing of the person when it is erased', async () => {
      const sub = `subject-${randomUUID()}`;
      const token = await provider.token({
        claims: { sub, name: 'Gone Girl', email: 'gone@example.com', email_verified: true },
      });
      expect((await as(token).delete('/v1/users/me')).status).toBe(204);
      const tables = await query<{ name: string }>(
        shop,
        `select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname !~ '^(pg_|information)'`,
      );
      for (const { name } of tables) {
        const rows = await query(shop, `select 1 from ${name} t where t::text ~* $1`, [
          `${sub}|gone.girl|gone@example`,
        ]);
        expect({ name, rows: rows.length }).toEqual({ name, rows: 0 });
      }
    });
  });

  describe('whose e-mail address another account has', () => {
    it('opens an account of its own without the address, and leaves the other alone', async () => {
      const other = await shop.customer('Victim');
      const { id, email } = (await other.get('/v1/users/me')).body as { id: string; email: string };
      for (const email_verified of [true, false, undefined]) {
        const { body } = await (await signedIn({ email: email.toUpperCase(), email_verified })).get('/v1/users/me');
        expect(body).toMatchObject({ email: null, status: 'active' });
        expect(body['id']).not.toBe(id);
      }
      expect((await other.get('/v1/users/me')).body).toMatchObject({ id, email });
    });

    it('does not take an address that the provider has not verified', async () => {
      for (const email_verified of [false, 'false', undefined, 1]) {
        const { body } = await (await signedIn({ email: 'free@example.com', email_verified })).get('/v1/users/me');
        expect(body).toMatchObject({ email: null });
      }
      const { body } = await (
        await signedIn({ email: 'free@example.com', email_verified: 'true' })
      ).get('/v1/users/me');
      expect(body).toMatchObject({ email: 'free@example.com' });
    });

    it('keeps the address from being registered, and gets no password by it', async () => {
      const claims = { email: 'federated@example.com', email_verified: true };
      const id = await idOf(await signedIn(claims));
      const anonymous = new Api(shop.url);
      const { email } = claims;
      const registration = { email, name: 'Eve', password: 'correct horse battery staple' };
      expect((await anonymous.post('/v1/auth/register', registration)).body).toMatchObject({ code: 'email-taken' });
      expect(await shop.admin.post(`/v1/users/${id}/password-reset`)).toMatchObject({
        status: 409,
        body: { code: 'password-elsewhere' },
      });
      const other = await shop.customer('Other');
      const { email: hers } = (await other.get('/v1/users/me')).body as { email: string };
      expect((await anonymous.post('/v1/auth/password-reset', { email })).status).toBe(202);
      expect((await anonymous.post('/v1/auth/password-reset', { email: hers })).status).toBe(202);
      // sent in the background, one after the other
      await eventually(async () => (await codesOf(await idOf(other))).length === 1);
      expect(await codesOf(id)).toEqual([]);
    });

    const codesOf = (id: string) => query(shop, 'select 1 from users.one_time_codes where user_id = $1', [id]);

    it('is named by what it says, in a form that can be stored', async () => {
      const names: [unknown, string][] = [
        ['  Ada \u0000', 'Customer'],
        ['  Ada  ', 'Ada'],
        [7, 'Customer'],
        ['x'.repeat(500), `${'x'.repeat(199)}…`],
      ];
      for (const [name, shown] of names) {
        expect((await (await signedIn({ name })).get('/v1/users/me')).body).toMatchObject({ name: shown });
      }
      const { body } = await (await signedIn({ preferred_username: 'ada' })).get('/v1/users/me');
      expect(body).toMatchObject({ name: 'ada' });
    });
  });

  it('costs no query once it was seen', async () => {
    const ada = await signedIn();
    await ada.get('/v1/operations/sagas');
    const scans = async () => {
      const [row] = await query<{ scans: number }>(
        shop,
        `select coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0)::int as scans from pg_stat_user_tables
         where schemaname = 'users'`,
      );
      return row!.scans;
    };
    const before = await scans();
    for (let request = 0; request < 300; request++) expect((await ada.get('/v1/operations/sagas')).status).toBe(403);
    // sessions report what they have read up to a second later
    const deadline = Date.now() + 1500;
    while (Date.now() < deadline) await query(shop, 'select pg_sleep(0.1)');
    expect((await scans()) - before).toBeLessThan(150);
  });
});
