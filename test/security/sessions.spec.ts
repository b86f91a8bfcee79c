import { createApp } from '../../src/bootstrap';
import { readConfig } from '../../src/config/config';
import { idOf, query } from '../journeys/shop';
import { type Answer, Api } from '../support/api';
import { startApp, type TestApp, tokenSecret } from '../support/app';

const password = 'correct horse battery staple';
const better = 'seven purple otters juggle';

interface Session {
  readonly api: Api;
  readonly refreshToken: string;
}

describe('a session', () => {
  let shop: TestApp;
  /** A second process on the same database. */
  let replica: { url: string; close: () => Promise<void> };

  beforeAll(async () => {
    shop = await startApp({ env: { TRUSTED_PROXIES: '127.0.0.1' } });
    replica = await startReplica();
  });
  afterAll(async () => {
    await replica.close();
    await shop.close();
  });

  async function startReplica(env: Record<string, string> = {}) {
    const config = readConfig({ NODE_ENV: 'test', DATABASE_URL: shop.databaseUrl, LOG_LEVEL: 'silent', ...env });
    const app = await createApp({ config, databaseUrl: shop.databaseUrl, secret: tokenSecret });
    await app.listen(0, '127.0.0.1');
    return { url: await app.getUrl(), close: () => app.close() };
  }

  let customers = 0;
  async function newCustomer(url = shop.url): Promise<string> {
    const email = `session-${++customers}@example.com`;
    await new Api(url).post('/v1/auth/register', { email, name: 'Ada', password });
    return email;
  }
  const signIn = async (username: string, url = shop.url, headers = {}): Promise<Session> =>
    sessionOf(await new Api(url).post('/v1/auth/token', { username, password }, headers), url);
  const newSession = async () => signIn(await newCustomer());
  const sessionOf = ({ status, body }: Answer, url = shop.url): Session => {
    expect({ status, body }).toMatchObject({ status: 200, body: { token_type: 'Bearer', expires_in: 900 } });
    return { api: new Api(url, body['access_token'] as string), refreshToken: body['refresh_token'] as string };
  };
  const refresh = (refresh_token: string, url = shop.url) => new Api(url).post('/v1/auth/refresh', { refresh_token });
  const statusOf = (api: Api, url = shop.url) =>
    new Api(url, api.token).get('/v1/users/me').then(({ status }) => status);
  const sessionsOf = async (api: Api) =>
    (await api.all('/v1/users/me/sessions')) as { id: string; current: boolean; network: string; userAgent: string }[];

  /** Nothing of it is taken any more, by either process. */
  async function expectEnded({ api, refreshToken }: Session): Promise<void> {
    for (const url of [replica.url, shop.url]) {
      expect(await statusOf(api, url)).toBe(401);
      expect(await refresh(refreshToken, url)).toMatchObject({ status: 401, body: { code: 'refresh-token-invalid' } });
    }
  }
  async function expectOpen({ api }: Session): Promise<void> {
    for (const url of [replica.url, shop.url]) expect(await statusOf(api, url)).toBe(200);
  }
  /** As if this many seconds had passed since any refresh token was used. */
  const later = (seconds: number) =>
    query(shop, 'update users.refresh_tokens set used_at = used_at - make_interval(secs => $1)', [seconds]);
  const endEvents = (sessionId: string) =>
    query(shop, `select event_type, payload->>'reason' as reason from event_store.events where aggregate_id = $1`, [
      sessionId,
    ]);

  it('goes on with each refresh token, on any process, and each is another one', async () => {
    let { refreshToken, api } = await newSession();
    const seen = new Set([refreshToken]);
    for (const url of [replica.url, shop.url, replica.url]) {
      ({ refreshToken, api } = sessionOf(await refresh(refreshToken, url)));
      expect(refreshToken).toMatch(/^ol_refresh_[0-9A-Za-z]{49}$/);
      seen.add(refreshToken);
      await expectOpen({ api, refreshToken });
    }
    expect(seen.size).toBe(4);
    expect(await sessionsOf(api)).toMatchObject([{ current: true }]);
  });

  it('takes a refresh token as an OAuth client sends it', async () => {
    const { refreshToken } = await newSession();
    const answer = await fetch(`${shop.url}/v1/auth/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'swagger' }),
    });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('cache-control')).toContain('no-store');
    const body = (await answer.json()) as Record<string, unknown>;
    expect(Object.keys(body).sort()).toEqual([
      'access_token',
      'expires_in',
      'refresh_expires_in',
      'refresh_token',
      'token_type',
    ]);
    expect(body['refresh_expires_in']).toBeGreaterThan(14 * 86_400 - 60);
    expect((await refresh(body['refresh_token'] as string)).status).toBe(200);
  });

  it('needs what its grant type needs', async () => {
    const token = (body: object) => new Api(shop.url).post('/v1/auth/token', body);
    expect((await token({ grant_type: 'refresh_token' })).status).toBe(400);
    expect((await token({ grant_type: 'refresh_token', username: 'a@example.com', password })).status).toBe(400);
    expect((await token({ grant_type: 'password', refresh_token: 'x' })).status).toBe(400);
    expect((await token({ grant_type: 'client_credentials' })).status).toBe(400);
  });

  describe('whose refresh token is used by many at once', () => {
    it('gives all of them the same next one, whichever the process, and goes on', async () => {
      const { refreshToken } = await newSession();
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, nth) => refresh(refreshToken, nth % 2 ? replica.url : shop.url)),
      );
      expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
      expect(new Set(answers.map(({ body }) => body['refresh_token'] as string)).size).toBe(1);
      for (const answer of answers) await expectOpen(sessionOf(answer));
      const next = sessionOf(answers[7]!);
      const sessionId = (await sessionsOf(next.api))[0]!.id;
      expect(
        await query(shop, 'select used_at is null as unused from users.refresh_tokens where session_id = $1', [
          sessionId,
        ]),
      ).toHaveLength(2);
      const { body, status } = await refresh(next.refreshToken);
      expect(status).toBe(200);
      expect(body['refresh_token']).not.toBe(next.refreshToken);
    });

    it('ends for all of them when it had been used long before', async () => {
      const first = await newSession();
      const second = sessionOf(await refresh(first.refreshToken));
      await later(31);
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, nth) => refresh(first.refreshToken, nth % 2 ? replica.url : shop.url)),
      );
      const codes = answers.map(({ body }) => body['code'] as string);
      // the first ends the session; to the others it has ended
      expect(codes.toSorted()).toEqual([...Array<string>(19).fill('refresh-token-invalid'), 'refresh-token-reused']);
      await expectEnded(second);
    });
  });

  describe('whose refresh token is used again', () => {
    it('is given the same next one within 30 seconds, as the answer may have been lost', async () => {
      const { refreshToken } = await newSession();
      const { body: one } = await refresh(refreshToken);
      await later(25);
      const { body: two } = await refresh(refreshToken, replica.url);
      expect(two['refresh_token']).toBe(one['refresh_token']);
    });

    it('ends after 30 seconds, with all its tokens, and says so in the log', async () => {
      const stolen = await newSession();
      const owner = sessionOf(await refresh(stolen.refreshToken));
      const [{ id }] = (await sessionsOf(owner.api)) as unknown as [{ id: string }];
      await later(31);
      expect(await refresh(stolen.refreshToken, replica.url)).toMatchObject({
        status: 401,
        body: { code: 'refresh-token-reused', detail: expect.stringContaining('sign in again') },
      });
      await expectEnded(owner);
      expect(await endEvents(id)).toEqual([{ event_type: 'user.session-ended', reason: 'refresh-token-reused' }]);
    });

    it('ends at once when the next one has been used as well: only the last answer can have been lost', async () => {
      const first = await newSession();
      const second = sessionOf(await refresh(first.refreshToken));
      const third = sessionOf(await refresh(second.refreshToken));
      expect((await refresh(first.refreshToken)).body['code']).toBe('refresh-token-reused');
      expect((await refresh(third.refreshToken)).status).toBe(401);
    });

    it('leaves the other sessions of the account open', async () => {
      const email = await newCustomer();
      const [stolen, other] = [await signIn(email), await signIn(email)];
      await refresh(stolen.refreshToken);
      await later(31);
      expect((await refresh(stolen.refreshToken)).status).toBe(401);
      await expectOpen(other);
      expect((await refresh(other.refreshToken)).status).toBe(200);
    });
  });

  it.each([
    ['one that was never issued', 'ol_refresh_0000000000000000000000000000000000000000000000000'],
    ['a mistyped one', ''],
    ['an access token', 'eyJhbGciOiJIUzI1NiJ9.e30.x'],
    ['a text', 'x'],
  ])('is not refreshed by %s', async (_, token) => {
    const { refreshToken } = await newSession();
    const mistyped = refreshToken.replace(/.$/, (last) => (last === 'a' ? 'b' : 'a'));
    expect(await refresh(token || mistyped)).toMatchObject({ status: 401, body: { code: 'refresh-token-invalid' } });
    expect((await refresh(refreshToken)).status).toBe(200);
  });

  describe('expires', () => {
    const age = (change: string, { api }: Session) =>
      idOf(api).then((id) => query(shop, `update users.sessions set ${change} where user_id = $1`, [id]));

    it('when it was not used for long', async () => {
      const session = await newSession();
      await age(`expires_at = now()`, session);
      expect((await refresh(session.refreshToken)).body['code']).toBe('refresh-token-invalid');
      expect(await sessionsOf(session.api)).toEqual([]);
    });

    it('at its greatest age, however much it is used', async () => {
      const session = await newSession();
      await age(`created_at = created_at - interval '29 days'`, session);
      const { body, status } = await refresh(session.refreshToken);
      expect(status).toBe(200);
      expect(body['refresh_expires_in']).toBeLessThan(86_401);
      await age(`created_at = created_at - interval '1 day'`, session);
      expect((await refresh(body['refresh_token'] as string)).body['refresh_expires_in']).toBeLessThanOrEqual(0);
      await later(31);
      expect((await refresh(body['refresh_token'] as string)).status).toBe(401);
    });
  });

  describe('ends by signing out', () => {
    const logout = (api: Api, body: object = {}) => api.post('/v1/auth/logout', body);

    it('with its access token, at once, in the other process too', async () => {
      for (let round = 0; round < 5; round++) {
        const session = await newSession();
        expect(await statusOf(session.api, replica.url)).toBe(200);
        expect((await logout(session.api)).status).toBe(204);
        await expectEnded(session);
      }
    });

    it('with its refresh token, which needs no access token', async () => {
      const session = await newSession();
      expect((await logout(new Api(shop.url), { refresh_token: session.refreshToken })).status).toBe(204);
      await expectEnded(session);
      expect((await logout(new Api(shop.url), { refresh_token: session.refreshToken })).status).toBe(204);
      expect((await logout(new Api(shop.url), { refresh_token: 'x' })).status).toBe(204);
    });

    it('without a body', async () => {
      const session = await newSession();
      const headers = { authorization: `Bearer ${session.api.token}` };
      expect((await fetch(`${shop.url}/v1/auth/logout`, { method: 'POST', headers })).status).toBe(204);
      await expectEnded(session);
    });

    it('and only that one', async () => {
      const email = await newCustomer();
      const [one, other] = [await signIn(email), await signIn(email)];
      await logout(one.api);
      await expectOpen(other);
    });

    it('but not with nothing, or with an access token that has ended', async () => {
      const session = await newSession();
      expect(await logout(new Api(shop.url))).toMatchObject({ status: 401, body: { code: 'unauthenticated' } });
      await logout(session.api);
      expect((await logout(session.api)).status).toBe(401);
    });

    it('for a process that starts later as well', async () => {
      const session = await newSession();
      await logout(session.api);
      const third = await startReplica();
      try {
        expect(await statusOf(session.api, third.url)).toBe(401);
      } finally {
        await third.close();
      }
    });

    it('whatever refreshes it at the same time', async () => {
      for (let round = 0; round < 10; round++) {
        const session = await newSession();
        const [one, , two] = await Promise.all([
          refresh(session.refreshToken),
          logout(new Api(replica.url), { refresh_token: session.refreshToken }),
          refresh(session.refreshToken, replica.url),
        ]);
        await expectEnded(session);
        for (const { status, body } of [one, two]) {
          if (status !== 200) continue;
          const late = { api: new Api(shop.url, body['access_token'] as string), refreshToken: body['refresh_token'] };
          await expectEnded(late);
        }
      }
    });
  });

  describe('is listed', () => {
    it('with when and from where it was used, shortened, and which one is the current', async () => {
      const email = await newCustomer();
      const from = { 'x-forwarded-for': '203.0.113.77', 'user-agent': `Agent ${'x'.repeat(500)}` };
      await signIn(email, shop.url, from);
      const { api } = await signIn(email, shop.url, { 'x-forwarded-for': '2001:db8:1:2::3', 'user-agent': 'Agent 2' });
      const listed = await sessionsOf(api);
      expect(listed).toMatchObject([
        { current: true, network: '2001:db8:1::/48', userAgent: 'Agent 2' },
        { current: false, network: '203.0.113.0/24', userAgent: expect.stringMatching(/^Agent x{193}…$/) },
      ]);
      expect(Object.keys(listed[0]!).sort()).toEqual(
        ['createdAt', 'current', 'expiresAt', 'id', 'lastUsedAt', 'network', 'userAgent'].sort(),
      );
    });

    it('page by page', async () => {
      const email = await newCustomer();
      const sessions = [await signIn(email), await signIn(email), await signIn(email)];
      const { api } = sessions[2]!;
      const { body } = await api.get('/v1/users/me/sessions?limit=2');
      expect(body).toMatchObject({ data: [{ current: true }, { current: false }], page: { hasMore: true } });
      const rest = await api.get(`/v1/users/me/sessions?limit=2&after=${body['page'].next}`);
      expect(rest.body).toMatchObject({ data: [{ current: false }], page: { hasMore: false } });
    });

    it('and ended one by one, or all others together', async () => {
      const email = await newCustomer();
      const [one, two, three] = [await signIn(email), await signIn(email), await signIn(email)];
      const first = (await sessionsOf(one.api)).find(({ current }) => current)!;
      expect((await three.api.delete(`/v1/users/me/sessions/${first.id}`)).status).toBe(204);
      await expectEnded(one);
      await expectOpen(two);
      expect(await three.api.delete(`/v1/users/me/sessions/${first.id}`)).toMatchObject({
        status: 404,
        body: { code: 'session-unknown' },
      });
      expect((await three.api.delete('/v1/users/me/sessions')).status).toBe(204);
      await expectEnded(two);
      await expectOpen(three);
      expect(await sessionsOf(three.api)).toMatchObject([{ current: true }]);
    });

    it('to nobody else, and ended by nobody else but an administrator', async () => {
      const [ada, eve] = [await newSession(), await newSession()];
      const [{ id }] = (await sessionsOf(ada.api)) as unknown as [{ id: string }];
      expect((await eve.api.delete(`/v1/users/me/sessions/${id}`)).status).toBe(404);
      await eve.api.delete('/v1/users/me/sessions');
      await expectOpen(ada);
      const userId = await idOf(ada.api);
      for (const answer of [
        await eve.api.get(`/v1/users/${userId}/sessions`),
        await eve.api.delete(`/v1/users/${userId}/sessions`),
      ]) {
        expect(answer.status).toBe(403);
      }
      expect((await shop.admin.get(`/v1/users/${userId}/sessions`)).body).toMatchObject({
        data: [{ id, current: false }],
      });
      expect((await shop.admin.delete(`/v1/users/${userId}/sessions`)).status).toBe(204);
      await expectEnded(ada);
      expect(await endEvents(id)).toEqual([{ event_type: 'user.session-ended', reason: 'ended-by-admin' }]);
    });
  });

  describe('and its account', () => {
    it('end together when the account is deactivated or erased', async () => {
      const [one, two] = [await newSession(), await newSession()];
      await shop.admin.post(`/v1/users/${await idOf(one.api)}/deactivate`);
      await expectEnded(one);
      const userId = await idOf(two.api);
      expect((await two.api.delete('/v1/users/me')).status).toBe(204);
      await expectEnded(two);
      expect(await query(shop, 'select from users.sessions where user_id = $1', [userId])).toEqual([]);
    });

    it('are open to nobody who signed in while the account was deactivated', async () => {
      for (let round = 0; round < 5; round++) {
        const email = await newCustomer();
        const { api } = await signIn(email);
        const userId = await idOf(api);
        const [, ...late] = await Promise.all([
          shop.admin.post(`/v1/users/${userId}/deactivate`),
          ...[1, 2, 3].map(() => new Api(replica.url).post('/v1/auth/token', { username: email, password })),
        ]);
        for (const { status, body } of late) {
          if (status === 401) continue;
          await expectEnded({
            api: new Api(shop.url, body['access_token'] as string),
            refreshToken: body['refresh_token'] as string,
          });
        }
      }
    });

    it('go on with other roles: the next access token has them', async () => {
      const session = await newSession();
      const userId = await idOf(session.api);
      await shop.admin.put(`/v1/users/${userId}/roles`, { roles: ['staff'] });
      expect(await statusOf(session.api)).toBe(401);
      const next = sessionOf(await refresh(session.refreshToken, replica.url));
      expect((await next.api.get('/v1/users/me')).body).toMatchObject({ roles: ['staff'] });
      expect((await new Api(shop.url, next.api.token).get('/v1/operations/sagas')).status).toBe(200);
    });

    it('go on with a new password where it was changed; all other sessions end', async () => {
      const email = await newCustomer();
      const [here, elsewhere] = [await signIn(email), await signIn(email)];
      const change = { currentPassword: password, newPassword: better };
      expect((await here.api.post('/v1/users/me/password', change)).status).toBe(204);
      await expectEnded(elsewhere);
      expect(await statusOf(here.api)).toBe(401);
      await expectOpen(sessionOf(await refresh(here.refreshToken)));
    });

    it('part with a password that was set by a code: all sessions end', async () => {
      const session = await newSession();
      const userId = await idOf(session.api);
      const { code } = (await shop.admin.post(`/v1/users/${userId}/password-reset`)).body as { code: string };
      expect((await new Api(shop.url).post('/v1/auth/password', { code, password: better })).status).toBe(204);
      await expectEnded(session);
    });
  });

  it('ends when its account signs in more often than it may, the one first that was not used for the longest time', async () => {
    const strict = await startReplica({ SESSIONS_PER_ACCOUNT: '3' });
    try {
      const email = await newCustomer();
      const sessions = [await signIn(email), await signIn(email), await signIn(email)];
      const used = sessionOf(await refresh(sessions[0]!.refreshToken));
      const fourth = await signIn(email, strict.url);
      await expectEnded(sessions[1]!);
      for (const each of [used, sessions[2]!, fourth]) await expectOpen(each);
      // exact also when many sign in at once
      await Promise.all(Array.from({ length: 6 }, () => signIn(email, strict.url)));
      expect(await sessionsOf((await signIn(email, strict.url)).api)).toHaveLength(3);
    } finally {
      await strict.close();
    }
  });

  it('leaves no token in the database', async () => {
    const session = await newSession();
    const next = sessionOf(await refresh(session.refreshToken));
    const tables = await query<{ name: string }>(
      shop,
      `select format('%I.%I', table_schema, table_name) as name from information_schema.tables
       where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')`,
    );
    const secrets = [session, next].flatMap(({ refreshToken, api }) => [refreshToken, api.token!]);
    for (const { name } of tables) {
      const like = secrets.map((secret) => `%${secret}%`);
      expect(await query(shop, `select from ${name} t where t::text like any ($1)`, [like])).toEqual([]);
    }
  });
});
