import { base64url } from 'jose';
import { readConfig } from '../../src/config/config';
import { OidcProvider } from '../../src/gateway/authentication/oidc-provider';
import { OidcTokens } from '../../src/gateway/authentication/oidc-tokens';
import { Resilience } from '../../src/kernel/resilience/policies';
import { eventually } from '../kernel/support';
import { Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { IdentityProvider } from '../support/identity-provider';

/** The pause between two tries to reach the provider is five seconds. */
const withinMs = 20_000;

describe('the identity provider of an app', () => {
  let provider: IdentityProvider;
  let shop: TestApp;

  beforeEach(async () => {
    provider = await IdentityProvider.start();
  });
  afterEach(async () => {
    await shop.close();
    await provider.stop();
  });

  const start = async (env: Record<string, string> = {}) => {
    shop = await startApp({ env: { ...provider.env, ...env } });
  };
  const me = (token: string) => new Api(shop.url, token).get('/v1/users/me');
  const fetches = () => provider.requests.filter((path) => path === '/jwks').length;

  async function expectAway(token: string): Promise<void> {
    const answer = await me(token);
    expect(answer).toMatchObject({ status: 503, body: { code: 'identity-provider-away' } });
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  }

  it('is asked for its keys once, also when many tokens come at the same time', async () => {
    await start();
    await eventually(() => fetches() === 1);
    const tokens = await Promise.all(Array.from({ length: 20 }, () => provider.token()));
    const answers = await Promise.all(tokens.map(me));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    expect(fetches()).toBe(1);
  });

  it('is not asked again by a flood of tokens with made-up keys', async () => {
    await start();
    await eventually(() => fetches() === 1);
    const [, claims, signature] = (await provider.token()).split('.');
    const began = performance.now();
    for (let nth = 0; nth < 300; nth++) {
      const header = base64url.encode(JSON.stringify({ alg: 'RS256', kid: `made-up-${nth}` }));
      expect((await me(`${header}.${claims}.${signature}`)).status).toBe(401);
    }
    expect(fetches()).toBeLessThanOrEqual(2 + (performance.now() - began) / 5000);
    expect((await me(await provider.token())).status).toBe(200);
  });

  it('may change its keys at any time', async () => {
    await start();
    const old = await provider.token();
    expect((await me(old)).status).toBe(200);
    await provider.addKey('second', 'ES256');
    const token = await provider.token({ kid: 'second' });
    await eventually(async () => (await me(token)).status === 200, withinMs);
    expect((await me(old)).status).toBe(200);
  }, 40_000);

  it('may withdraw a key: tokens that were accepted before end with it', async () => {
    await start();
    await provider.addKey('second');
    const withdrawn = await provider.token();
    expect((await me(withdrawn)).status).toBe(200);
    const keys = { keys: provider.service.issuer.keys.toJSON().filter(({ kid }) => kid === 'second') };
    provider.answer = (request, response) => {
      if (request.url === '/jwks') return void response.end(JSON.stringify(keys));
      provider.service.requestHandler(request, response);
    };
    const token = await provider.token({ kid: 'second' });
    await eventually(async () => (await me(token)).status === 200, withinMs);
    expect((await me(withdrawn)).status).toBe(401);
  }, 40_000);

  it('may name no key, and have several', async () => {
    await provider.addKey('second');
    await start();
    const without = async (kid: string) => me(await provider.token({ kid, header: { kid: undefined } }));
    expect((await without('second')).status).toBe(200);
    expect((await without('first')).status).toBe(200);
  });

  it('is not needed for the start, nor for tokens of our own', async () => {
    await provider.stop();
    await start();
    expect((await shop.admin.get('/v1/users')).status).toBe(200);
    await expectAway(await provider.token());
    await provider.restart();
    const token = await provider.token();
    await eventually(async () => (await me(token)).status === 200, withinMs);
  }, 40_000);

  it('is not needed for what is known: tokens that were seen, and new ones of known keys', async () => {
    await start();
    const seen = await provider.token();
    expect((await me(seen)).status).toBe(200);
    await provider.addKey('second');
    await provider.stop();
    expect((await me(seen)).status).toBe(200);
    expect((await me(await provider.token())).status).toBe(200);
    const unknown = await provider.token({ kid: 'second' });
    await eventually(async () => (await me(unknown)).status === 503, withinMs);
    await expectAway(unknown);
    expect((await me(seen)).status).toBe(200);
  }, 40_000);

  it('lifts no rate limit while it is away, whatever tokens are sent along', async () => {
    await provider.stop();
    await start({ RATE_LIMIT_READ: '5/3600', RATE_LIMIT_SIGN_IN: '5/3600' });
    const api = new Api(shop.url, await provider.token());
    const reads: number[] = [];
    const signIns: number[] = [];
    for (let nth = 0; nth < 7; nth++) {
      reads.push((await api.get('/v1/products')).status);
      signIns.push((await api.post('/v1/auth/refresh', { refresh_token: 'x' })).status);
    }
    expect(reads).toEqual([200, 200, 200, 200, 200, 429, 429]);
    // whose sign-ins the start of the shop has made
    expect(signIns.slice(-2)).toEqual([429, 429]);
  });

  it('may be one of OAuth alone, with its metadata where RFC 8414 puts it', async () => {
    const issuer = `${provider.issuer}/tenants/shop`;
    provider.answer = (request, response) => {
      if (request.url === '/.well-known/oauth-authorization-server/tenants/shop') {
        response.end(JSON.stringify({ issuer, jwks_uri: `${provider.issuer}/jwks` }));
      } else if (request.url === '/jwks') {
        response.end(JSON.stringify({ keys: provider.service.issuer.keys.toJSON() }));
      } else response.writeHead(404).end();
    };
    await start({ OIDC_ISSUER: issuer });
    expect((await me(await provider.token({ claims: { iss: issuer } }))).status).toBe(200);
  });

  it('costs a few microseconds for a token that was seen', async () => {
    await start();
    const tokens = shop.app.get(OidcTokens, { strict: false });
    const token = await provider.token({ claims: { realm_access: { roles: Array.from({ length: 20 }, String) } } });
    const rounds = 5000;
    const measure = async () => {
      const began = performance.now();
      for (let round = 0; round < rounds; round++) {
        if (!tokens.recognises(token)) throw new Error('Not recognised');
        await tokens.verify(token);
      }
      return ((performance.now() - began) / rounds) * 1000;
    };
    await measure();
    const microseconds = Math.min(await measure(), await measure(), await measure());
    // about 5 on one core that is free, and 90 for a signature
    expect(microseconds).toBeLessThan(60);
    if (process.env['SHOW_FIGURES']) console.log(`${microseconds.toFixed(1)} µs a token`);
  });
});

describe('the identity provider', () => {
  let provider: IdentityProvider;

  beforeEach(async () => {
    provider = await IdentityProvider.start();
  });
  afterEach(() => provider.stop());

  it.each<[string, NonNullable<IdentityProvider['answer']>]>([
    ['does not answer', () => undefined],
    ['fails', (_, response) => void response.writeHead(500).end()],
    ['has nothing to say', (_, response) => void response.writeHead(404).end()],
    ['sends no JSON', (_, response) => void response.end('<html>')],
    ['sends something else', (_, response) => void response.end('{"keys":7}')],
    ['redirects', (_, response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()],
    [
      'is another one',
      ({ url, headers }, response) => {
        const document = { issuer: 'https://other.example.com', jwks_uri: `http://${headers.host}/jwks` };
        response.end(url === '/jwks' ? '{"keys":[]}' : JSON.stringify(document));
      },
    ],
  ])(
    'makes a token wait with 503 while it %s',
    async (_, answer) => {
      provider.answer = answer;
      const config = readConfig({ ...provider.env, LOG_LEVEL: 'silent' });
      const client = new OidcProvider(config, new Resilience());
      const key = () => client.key({ alg: 'RS256', kid: 'first' }, { payload: '', signature: '' });
      await expect(key()).rejects.toMatchObject({ status: 503, headers: { 'Retry-After': expect.any(String) } });
      const began = performance.now();
      await expect(key()).rejects.toMatchObject({ status: 503 });
      // the next try is later, so it costs nothing to say so
      expect(performance.now() - began).toBeLessThan(1000);
    },
    20_000,
  );
});
