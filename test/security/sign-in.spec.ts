import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createApp } from '../../src/bootstrap';
import { readConfig } from '../../src/config/config';
import { account, idOf, query } from '../journeys/shop';
import { AppProcess, freePort } from '../process/app-process';
import { Api, type Answer } from '../support/api';
import { startApp, type TestApp, tokenSecret } from '../support/app';
import { createDatabase, type TestDatabase } from '../support/database';

const good = 'correct horse battery staple';
const better = 'seven purple otters juggle';

describe('signing in', () => {
  let shop: TestApp;
  let anonymous: Api;

  beforeAll(async () => {
    shop = await startApp();
    anonymous = new Api(shop.url);
  });
  afterAll(() => shop.close());

  const register = (email: string, password = good) =>
    anonymous.post('/v1/auth/register', { email, name: 'Ada Lovelace', password });
  const signIn = (username: string, password: string) => anonymous.post('/v1/auth/token', { username, password });
  const expectTooMany = ({ status, headers, body }: Answer) => {
    expect({ status, code: body['code'] }).toEqual({ status: 429, code: 'too-many-attempts' });
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(800);
  };

  describe('with a wrong password', () => {
    it('is refused after ten failures for one account, even with the right password, and nobody else is', async () => {
      await register('limited@example.com');
      await register('other@example.com');
      const failures = Array.from({ length: 12 }, () => signIn('limited@example.com', 'wrong horse battery staple'));
      const statuses = (await Promise.all(failures)).map(({ status }) => status);
      // exact under concurrency
      expect(statuses.toSorted()).toEqual([...Array<number>(10).fill(401), 429, 429]);
      expectTooMany(await signIn('LIMITED@example.com', good));
      expect((await signIn('other@example.com', good)).status).toBe(200);
    });

    it('is refused alike for an account that does not exist', async () => {
      for (let nth = 0; nth < 10; nth++) expect((await signIn('nobody@example.com', good)).status).toBe(401);
      expectTooMany(await signIn('nobody@example.com', good));
    });

    it('starts to count anew after a success', async () => {
      await register('forgetful@example.com');
      for (let round = 0; round < 2; round++) {
        for (let nth = 0; nth < 9; nth++) expect((await signIn('forgetful@example.com', better)).status).toBe(401);
        expect((await signIn('forgetful@example.com', good)).status).toBe(200);
      }
    });

    it('stores no e-mail address with the attempts', async () => {
      const rows = await query<{ key: string }>(shop, 'select key from users.sign_in_attempts');
      expect(rows.length).toBeGreaterThan(0);
      expect(JSON.stringify(rows)).not.toMatch(/example|@/);
    });
  });

  it('is refused after many failures from one address, whichever the accounts', async () => {
    const strict = await startApp({ env: { SIGN_IN_FAILURES_PER_ADDRESS: '5', TRUSTED_PROXIES: '127.0.0.1' } });
    try {
      const from = (address: string, nth: number) =>
        new Api(strict.url).post(
          '/v1/auth/token',
          { username: `guess-${nth}@example.com`, password: good },
          { 'x-forwarded-for': address },
        );
      for (let nth = 0; nth < 5; nth++) expect((await from('203.0.113.7', nth)).status).toBe(401);
      expectTooMany(await from('203.0.113.7', 6));
      expectTooMany(await from('::ffff:203.0.113.7', 7));
      expect((await from('203.0.113.8', 8)).status).toBe(401);
      // all addresses of one IPv6 network are one client
      for (let nth = 0; nth < 5; nth++) await from(`2001:db8:1:2::${nth}`, nth);
      expectTooMany(await from('2001:db8:1:2:ffff::1', 9));
      expect((await from('2001:db8:1:3::1', 10)).status).toBe(401);
    } finally {
      await strict.close();
    }
  });

  it('ignores X-Forwarded-For from a client that is no trusted proxy', async () => {
    const strict = await startApp({ env: { SIGN_IN_FAILURES_PER_ADDRESS: '5' } });
    try {
      const statuses: number[] = [];
      for (let nth = 0; nth < 6; nth++) {
        const headers = { 'x-forwarded-for': `203.0.113.${nth}` };
        const body = { username: `guess-${nth}@example.com`, password: good };
        statuses.push((await new Api(strict.url).post('/v1/auth/token', body, headers)).status);
      }
      expect(statuses).toEqual([401, 401, 401, 401, 401, 429]);
    } finally {
      await strict.close();
    }
  });

  it.each([
    ['a common one', 'password123456'],
    ['a common one in disguise', 'P@ssw0rd1234'],
    ['blanks', ' '.repeat(12)],
    ['one character repeated', 'a'.repeat(200)],
    ['a word repeated', 'orderorderorder'],
    ['a row of keys', 'qwertyuiop1234567890'],
    ['the e-mail address', 'weak@example.com'],
    ['the e-mail address in capitals, with blanks', ' WEAK@example.com '],
    ['the name', 'Ada Lovelace'],
  ])('rejects %s as a password', async (_, password) => {
    const answer = await register('weak@example.com', password);
    expect(answer).toMatchObject({
      status: 422,
      body: { code: 'password-weak', errors: [{ pointer: '/password', message: expect.stringContaining('guess') }] },
    });
    expect(await query(shop, `select from users.users where email = 'weak@example.com'`)).toEqual([]);
  });

  it('judges the longest and worst password in a moment', async () => {
    for (const password of ['1qaz2wsx'.repeat(25), 'p4$$w0rd'.repeat(25), 'aB1!'.repeat(50), 'ab'.repeat(100)]) {
      const began = performance.now();
      await register('slow@example.com', password);
      expect(performance.now() - began).toBeLessThan(1500);
    }
  });

  describe('with a new password', () => {
    it('needs the current one, and counts wrong ones as failures', async () => {
      const ada = await shop.customer('Ada');
      const change = (currentPassword: string, newPassword: string) =>
        ada.post('/v1/users/me/password', { currentPassword, newPassword });
      expect(await change(better, better)).toMatchObject({ status: 403, body: { code: 'wrong-password' } });
      expect(await change(good, 'ada-1@example.com')).toMatchObject({ status: 422, body: { code: 'password-weak' } });
      expect((await ada.get('/v1/users/me')).status).toBe(200);
      expect((await change(good, better)).status).toBe(204);
      expect((await signIn('ada-1@example.com', good)).status).toBe(401);
      expect((await signIn('ada-1@example.com', better)).status).toBe(200);
    });

    it('leaves nothing of either password in the database', async () => {
      const tables = await query<{ name: string }>(
        shop,
        `select format('%I.%I', table_schema, table_name) as name from information_schema.tables
         where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')`,
      );
      for (const { name } of tables) {
        expect(
          await query(shop, `select from ${name} t where t::text like any ($1)`, [[`%${better}%`, `%${good}%`]]),
        ).toEqual([]);
      }
    });
  });

  describe('with a code from an administrator', () => {
    it('gives an account that staff opened its first password, once', async () => {
      const { body } = await shop.admin.post('/v1/users', { email: 'first@example.com', name: 'Grace' });
      const issued = await shop.admin.post(`/v1/users/${body['id']}/password-reset`);
      expect(issued).toMatchObject({ status: 201, body: { code: expect.stringMatching(/^[\w-]{27}$/) } });
      const code = issued.body['code'] as string;
      const set = (password: string, using = code) => anonymous.post('/v1/auth/password', { code: using, password });
      expect(await set('first@example.com')).toMatchObject({ status: 422, body: { code: 'password-weak' } });
      expect((await set(good)).status).toBe(204);
      expect((await signIn('first@example.com', good)).status).toBe(200);
      expect(await set(better)).toMatchObject({ status: 422, body: { code: 'code-invalid' } });
      expect(await set(better, 'x'.repeat(27))).toMatchObject({ status: 422, body: { code: 'code-invalid' } });
    });

    it('lets the owner in again after too many failures', async () => {
      await register('locked@example.com');
      const { id } = (
        await query<{ id: string }>(shop, `select id from users.users where email = 'locked@example.com'`)
      )[0]!;
      for (let nth = 0; nth < 10; nth++) await signIn('locked@example.com', better);
      expectTooMany(await signIn('locked@example.com', good));
      const { code } = (await shop.admin.post(`/v1/users/${id}/password-reset`)).body as { code: string };
      // set by another process: the limit is lifted in this one too
      const env = { NODE_ENV: 'test', DATABASE_URL: shop.databaseUrl, LOG_LEVEL: 'silent' };
      const options = { config: readConfig(env), databaseUrl: shop.databaseUrl, secret: tokenSecret };
      const replica = await createApp(options);
      await replica.listen(0, '127.0.0.1');
      const set = new Api(await replica.getUrl()).post('/v1/auth/password', { code, password: better });
      expect((await set.finally(() => replica.close())).status).toBe(204);
      expect((await signIn('locked@example.com', better)).status).toBe(200);
    });

    it('is spent once by simultaneous requests', async () => {
      const id = await idOf(await account(shop));
      const { code } = (await shop.admin.post(`/v1/users/${id}/password-reset`)).body as { code: string };
      const attempts = [1, 2, 3, 4].map((nth) =>
        anonymous.post('/v1/auth/password', { code, password: `${better} ${nth}` }),
      );
      const statuses = (await Promise.all(attempts)).map(({ status }) => status);
      expect(statuses.toSorted()).toEqual([204, 422, 422, 422]);
    });

    it('is void after the password was changed', async () => {
      const ada = await shop.customer('Withdrawn');
      const { code } = (await shop.admin.post(`/v1/users/${await idOf(ada)}/password-reset`)).body as { code: string };
      await ada.post('/v1/users/me/password', { currentPassword: good, newPassword: better });
      expect((await anonymous.post('/v1/auth/password', { code, password: good })).status).toBe(422);
    });

    it('is void after a newer one, when it has expired, and when the account was deactivated', async () => {
      const id = await idOf(await account(shop));
      const issue = async () => (await shop.admin.post(`/v1/users/${id}/password-reset`)).body['code'] as string;
      const set = async (code: string) => (await anonymous.post('/v1/auth/password', { code, password: good })).status;
      const [older, newer] = [await issue(), await issue()];
      expect(await set(older)).toBe(422);
      await query(shop, `update users.one_time_codes set expires_at = now() where user_id = $1`, [id]);
      expect(await set(newer)).toBe(422);
      const last = await issue();
      await shop.admin.post(`/v1/users/${id}/deactivate`);
      expect(await set(last)).toBe(422);
      expect(await shop.admin.post(`/v1/users/${id}/password-reset`)).toMatchObject({
        status: 409,
        body: { code: 'user-inactive' },
      });
    });

    it('is for administrators to issue, and is not stored as the answer to an Idempotency-Key', async () => {
      const id = await idOf(await account(shop));
      const staff = await account(shop, ['staff']);
      expect((await staff.post(`/v1/users/${id}/password-reset`)).status).toBe(403);
      const key = { 'idempotency-key': 'one-key' };
      const codes = [1, 2].map(() => shop.admin.post(`/v1/users/${id}/password-reset`, {}, key));
      const [one, two] = (await Promise.all(codes)).map(({ body }) => body['code'] as string);
      expect(one).not.toBe(two);
      expect(
        await query(shop, 'select from gateway.idempotency_keys where body::text like any ($1)', [[`%${one}%`]]),
      ).toEqual([]);
    });
  });
});

describe('the process', () => {
  const processes: AppProcess[] = [];
  let database: TestDatabase;
  let directory: string;
  let app: AppProcess;
  let api: Api;
  let env: Record<string, string>;

  beforeAll(async () => {
    database = await createDatabase();
    directory = mkdtempSync(join(tmpdir(), 'orderloom-sign-in-'));
    const PORT = String(await freePort());
    env = { DATABASE_URL: database.url, DATA_DIR: directory, PORT };
    app = run();
    await app.ready(`http://127.0.0.1:${PORT}`);
    api = new Api(`http://127.0.0.1:${PORT}`);
  }, 60_000);
  afterAll(async () => {
    await Promise.all(processes.map((each) => each.end()));
    rmSync(directory, { recursive: true, force: true });
    await database.drop();
  });

  const run = (more: Record<string, string> = {}, ...args: string[]) => {
    const started = new AppProcess({ ...env, ...more }, args);
    processes.push(started);
    return started;
  };

  it('logs each failed sign-in, without password, e-mail address or token', async () => {
    await api.post('/v1/auth/register', { email: 'canary@example.com', name: 'Ada', password: 'canary password one' });
    await api.post('/v1/auth/token', { username: 'canary@example.com', password: 'canary password two' });
    await api.post('/v1/auth/token', { username: 'canary password three', password: 'canary password four' });
    await app.says(/Sign-in from 127\.0\.0\.1 failed: wrong password for account [0-9a-f-]{36}/);
    await app.says(/Sign-in from 127\.0\.0\.1 failed: unknown account/);
    expect(app.output).not.toMatch(/canary/);
  });

  it('sends a code for a forgotten password, and answers alike when there is no such account', async () => {
    const ask = (email: string) => api.post('/v1/auth/password-reset', { email });
    await api.post('/v1/auth/register', { email: 'lost@example.com', name: 'Ada', password: good });
    const [known, unknown] = [await ask('lost@example.com'), await ask('nobody@example.com')];
    expect(known).toMatchObject({ status: 202, body: {} });
    expect(unknown).toMatchObject({ status: 202, body: {} });
    const [, code] = await app.says(/Mail to lost@example\.com: Set your password[\s\S]*?\n {2}([\w-]{27})\n/);
    expect((await api.post('/v1/auth/password', { code, password: better })).status).toBe(204);
    expect((await api.post('/v1/auth/token', { username: 'lost@example.com', password: better })).status).toBe(200);
    // five an hour, so that nobody can be flooded with mail
    for (let nth = 1; nth < 5; nth++) expect((await ask('lost@example.com')).status).toBe(202);
    expect((await ask('lost@example.com')).status).toBe(429);
  });

  it('says that ADMIN_PASSWORD is ignored when the administrator has another one, and gives a new one on request', async () => {
    const [, first] = await app.says(/password ([\w-]{16}) \(shown only this once\)/);
    const old = await Api.signIn(api.url, 'admin@orderloom.local', first!);
    await app.end();

    const reset = run({}, '--reset-admin-password');
    expect(await reset.exited).toMatchObject({ code: 0 });
    const [, second] = /has the new password ([\w-]{16}) \(shown only this once\)/.exec(reset.output)!;
    const unknown = run({ ADMIN_EMAIL: 'nobody@example.com' }, '--reset-admin-password');
    expect(await unknown.exited).toMatchObject({ code: 1 });
    expect(unknown.output).toContain('nobody@example.com is no active administrator: name one with ADMIN_EMAIL.');

    app = run({ ADMIN_PASSWORD: 'another password of mine' });
    await app.ready(api.url);
    await app.says(
      /ADMIN_PASSWORD is ignored.*exists already.*not the password of admin@orderloom\.local.*npm run admin:reset-password/,
    );
    expect((await old.get('/v1/users/me')).status).toBe(401);
    expect((await (await Api.signIn(api.url, 'admin@orderloom.local', second!)).get('/v1/users/me')).status).toBe(200);
  }, 60_000);
});
