import { randomUUID } from 'node:crypto';
import { createApp } from '../../src/bootstrap';
import { readConfig } from '../../src/config/config';
import { account, anOrder, idOf, order, query } from '../journeys/shop';
import { AppProcess, freePort } from '../process/app-process';
import { Api } from '../support/api';
import { startApp, type TestApp, tokenSecret } from '../support/app';

/** An access token lasts for minutes; the account that it stands for may end before. */
describe('an access token', () => {
  let shop: TestApp;
  /** A second process on the same database. */
  let replica: { url: string; close: () => Promise<void> };

  beforeAll(async () => {
    shop = await startApp();
    const env = { NODE_ENV: 'test', DATABASE_URL: shop.databaseUrl, LOG_LEVEL: 'silent' };
    const app = await createApp({ config: readConfig(env), databaseUrl: shop.databaseUrl, secret: tokenSecret });
    await app.listen(0, '127.0.0.1');
    replica = { url: await app.getUrl(), close: () => app.close() };
  });
  afterAll(async () => {
    await replica.close();
    await shop.close();
  });

  const elsewhere = (api: Api) => new Api(replica.url, api.token);

  /** Both processes refuse every kind of request, from the next one on. */
  async function expectEnded(api: Api): Promise<void> {
    for (const process of [elsewhere(api), api]) {
      expect(await process.get('/v1/users/me')).toMatchObject({
        status: 401,
        body: { code: 'unauthenticated', detail: expect.stringContaining('sign in again') },
      });
      expect((await process.post('/v1/orders', anOrder())).status).toBe(401);
    }
  }

  it('ends when the account is deactivated: an administrator can no longer make another one', async () => {
    const rogue = await account(shop, ['admin']);
    const customer = await idOf(await account(shop));
    expect((await elsewhere(rogue).get('/v1/users')).status).toBe(200);
    expect((await shop.admin.post(`/v1/users/${await idOf(rogue)}/deactivate`)).status).toBe(200);
    expect((await elsewhere(rogue).put(`/v1/users/${customer}/roles`, { roles: ['admin'] })).status).toBe(401);
    await expectEnded(rogue);
    expect((await shop.admin.get(`/v1/users/${customer}`)).body).toMatchObject({ roles: ['customer'] });
  });

  it('ends when the account is deactivated: a draft can no longer be submitted and paid', async () => {
    const ada = await account(shop);
    const draft = await order(ada, { submit: false });
    await shop.admin.post(`/v1/users/${await idOf(ada)}/deactivate`);
    const submit = `/v1/orders/${draft.body['id']}/submit`;
    expect((await elsewhere(ada).post(submit, { paymentMethod: 'sandbox_ok' })).status).toBe(401);
    await expectEnded(ada);
    expect(await shop.admin.post(submit, { paymentMethod: 'sandbox_ok' })).toMatchObject({
      status: 409,
      body: { code: 'customer-inactive' },
    });
    await shop.settled();
    expect((await shop.admin.get(`/v1/orders/${draft.body['id']}`)).body).toMatchObject({ status: 'draft' });
  });

  it('ends in the other process before the change is answered, each time', async () => {
    for (let round = 0; round < 30; round++) {
      const ada = await account(shop);
      const id = await idOf(ada);
      expect((await elsewhere(ada).get('/v1/users/me')).status).toBe(200);
      await shop.admin.post(`/v1/users/${id}/deactivate`);
      expect((await elsewhere(ada).get('/v1/users/me')).status).toBe(401);
    }
  });

  it('ends in a process that is only told of changes by polling', async () => {
    const env = { NODE_ENV: 'test', DATABASE_URL: shop.databaseUrl, LOG_LEVEL: 'silent' };
    const options = { config: readConfig(env), databaseUrl: shop.databaseUrl, secret: tokenSecret };
    const app = await createApp({ ...options, notify: false });
    await app.listen(0, '127.0.0.1');
    try {
      for (let round = 0; round < 3; round++) {
        const ada = await account(shop);
        const there = new Api(await app.getUrl(), ada.token);
        const { body } = await there.get('/v1/users/me');
        await shop.admin.post(`/v1/users/${body['id']}/deactivate`);
        expect((await there.get('/v1/users/me')).status).toBe(401);
      }
    } finally {
      await app.close();
    }
  });

  it('ends in a process that was stopped meanwhile, which holds up the change for no more than a moment', async () => {
    const PORT = String(await freePort());
    const stopped = new AppProcess({
      DATABASE_URL: shop.databaseUrl,
      JWT_SECRET: tokenSecret,
      PORT,
      LOG_LEVEL: 'error',
    });
    try {
      const url = `http://127.0.0.1:${PORT}`;
      await stopped.ready(url);
      const ada = await account(shop);
      const there = new Api(url, ada.token);
      const { body } = await there.get('/v1/users/me');
      stopped.kill('SIGSTOP');
      const began = performance.now();
      expect((await shop.admin.post(`/v1/users/${body['id']}/deactivate`)).status).toBe(200);
      // it may own the views as well, for which others wait five seconds
      expect(performance.now() - began).toBeLessThan(9000);
      stopped.kill('SIGCONT');
      expect((await there.get('/v1/users/me')).status).toBe(401);
    } finally {
      stopped.kill('SIGCONT');
      await stopped.end();
    }
  }, 60_000);

  it('ends when roles are taken away', async () => {
    const staff = await account(shop, ['staff']);
    expect((await elsewhere(staff).get('/v1/operations/sagas')).status).toBe(200);
    await shop.admin.put(`/v1/users/${await idOf(staff)}/roles`, { roles: ['customer'] });
    await expectEnded(staff);
  });

  it('ends when the account is erased', async () => {
    const ada = await account(shop);
    expect((await ada.delete('/v1/users/me')).status).toBe(204);
    await expectEnded(ada);
  });

  it('ends when the password changes, also the one that changed it; a new one works', async () => {
    const ada = await shop.customer('Ada');
    const [currentPassword, newPassword] = ['correct horse battery staple', 'seven purple otters juggle'];
    expect((await ada.post('/v1/users/me/password', { currentPassword, newPassword })).status).toBe(204);
    await expectEnded(ada);
    const again = await Api.signIn(replica.url, 'ada-1@example.com', newPassword);
    expect((await again.get('/v1/users/me')).status).toBe(200);
    expect((await new Api(shop.url, again.token).get('/v1/users/me')).status).toBe(200);
  });

  it('outlasts what does not concern it: another name, the same roles', async () => {
    const ada = await account(shop);
    const me = await ada.get('/v1/users/me');
    await ada.patch('/v1/users/me', { name: 'Countess' }, { 'if-match': me.headers.get('etag')! });
    await shop.admin.put(`/v1/users/${me.body['id']}/roles`, { roles: ['customer'] });
    expect((await ada.get('/v1/users/me')).body).toMatchObject({ name: 'Countess' });
  });

  it('stays ended after a restart', async () => {
    const ada = await account(shop);
    await shop.admin.post(`/v1/users/${await idOf(ada)}/deactivate`);
    const env = { NODE_ENV: 'test', DATABASE_URL: shop.databaseUrl, LOG_LEVEL: 'silent' };
    const app = await createApp({ config: readConfig(env), databaseUrl: shop.databaseUrl, secret: tokenSecret });
    try {
      await app.listen(0, '127.0.0.1');
      expect((await new Api(await app.getUrl(), ada.token).get('/v1/users/me')).status).toBe(401);
    } finally {
      await app.close();
    }
  });

  it('costs no query to check', async () => {
    const ada = await account(shop);
    const missing = `/v1/products/${randomUUID()}/stock`;
    await ada.get(missing);
    const scans = async () => {
      const [row] = await query<{ scans: number }>(
        shop,
        `select coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0)::int as scans from pg_stat_user_tables
         where schemaname = 'users'`,
      );
      return row!.scans;
    };
    const before = await scans();
    // refused for the role, which is after the token has been checked
    for (let request = 0; request < 100; request++) expect((await ada.get(missing)).status).toBe(403);
    // sessions report what they have read up to a second later
    const deadline = Date.now() + 1500;
    while (Date.now() < deadline) await query(shop, 'select pg_sleep(0.1)');
    expect((await scans()) - before).toBeLessThan(50);
  });

  describe('of two administrators who deactivate each other', () => {
    it('lets one of them win, and answers the other with 409 or 401, never with an error of ours', async () => {
      for (let round = 0; round < 10; round++) {
        const [one, other] = await Promise.all([account(shop, ['admin']), account(shop, ['admin'])]);
        const [oneId, otherId] = await Promise.all([idOf(one), idOf(other)]);
        const answers = await Promise.all([
          one.post(`/v1/users/${otherId}/deactivate`),
          other.post(`/v1/users/${oneId}/deactivate`),
          one.put(`/v1/users/${otherId}/roles`, { roles: ['customer'] }),
          other.put(`/v1/users/${oneId}/roles`, { roles: ['customer'] }),
        ]);
        for (const { status } of answers) expect([200, 401, 409]).toContain(status);
      }
    });
  });
});
