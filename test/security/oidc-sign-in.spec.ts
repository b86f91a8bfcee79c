import { eventually } from '../kernel/support';
import { Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { IdentityProvider } from '../support/identity-provider';
import { RawConnection } from '../support/raw-http';

const well = '/.well-known/oauth-protected-resource';

/** What a client finds that knows nothing but the address of the API. */
describe('where to sign in', () => {
  let provider: IdentityProvider;
  let shop: TestApp;
  let elsewhere: TestApp;

  beforeAll(async () => {
    provider = await IdentityProvider.start();
    shop = await startApp({ env: { ...provider.env, OIDC_SWAGGER_CLIENT_ID: 'orderloom-docs' } });
    elsewhere = await startApp();
    await eventually(() => provider.requests.includes('/jwks'));
  });
  afterAll(async () => {
    await Promise.all([shop.close(), elsewhere.close()]);
    await provider.stop();
  });

  const get = (path: string, headers: Record<string, string> = {}) => new Api(shop.url).get(path, headers);
  const challengeOf = async (path: string, api = new Api(shop.url)) =>
    (await api.get(path)).headers.get('www-authenticate');

  it('is told by the metadata of the resource, as a whole and below a path', async () => {
    expect(await get(well)).toMatchObject({
      status: 200,
      body: {
        resource: shop.url,
        authorization_servers: [provider.issuer],
        scopes_supported: expect.arrayContaining(['orders:read', 'orders:write']),
        bearer_methods_supported: ['header'],
      },
    });
    expect((await get(`${well}/v1`)).body).toMatchObject({ resource: `${shop.url}/v1` });
    expect(await get(`${well}/other`)).toMatchObject({ status: 404, body: { code: 'resource-unknown' } });
  });

  it('is found by the challenge of a request without a valid token', async () => {
    const challenge = await challengeOf('/v1/orders');
    expect(challenge).toBe(`Bearer realm="orderloom", resource_metadata="${shop.url}${well}"`);
    const { status } = await fetch(/resource_metadata="([^"]+)"/.exec(challenge!)![1]!);
    expect(status).toBe(200);
    const limited = new Api(shop.url, await provider.token({ claims: { scope: 'orders:read' } }));
    expect(await challengeOf('/v1/users/me', limited)).toMatch(/error="insufficient_scope".*resource_metadata="/);
  });

  it('is not told in the words of a stranger', async () => {
    const { headers } = await get('/v1/orders', { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https' });
    expect(headers.get('www-authenticate')).toContain(`resource_metadata="${shop.url}/`);
  });

  it('is not told where the Host header is no name', async () => {
    for (const host of ['a"b', '"a"', 'a b', 'a,b', "a'b", 'a;b', 'shop.example:99999']) {
      const sent = `GET /v1/orders HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
      const { status, headers } = await new RawConnection(shop.url, sent).answered;
      expect([host, status, headers['www-authenticate']]).toEqual([host, 401, 'Bearer realm="orderloom"']);
    }
  });

  it('is below PUBLIC_URL where that is set', async () => {
    const app = await startApp({ env: { ...provider.env, PUBLIC_URL: 'https://shop.example.com/' } });
    try {
      const { headers } = await new Api(app.url).get('/v1/orders');
      expect(headers.get('www-authenticate')).toContain(`"https://shop.example.com${well}"`);
      expect((await new Api(app.url).get(well)).body).toMatchObject({ resource: 'https://shop.example.com' });
    } finally {
      await app.close();
    }
  });

  it('is nowhere else without an identity provider', async () => {
    const api = new Api(elsewhere.url);
    expect(await api.get(well)).toMatchObject({ status: 404, body: { status: 404, code: 'not-found' } });
    expect(await challengeOf('/v1/orders', api)).toBe('Bearer realm="orderloom"');
    expect(JSON.stringify((await api.get('/openapi.json')).body)).not.toContain('oidc');
  });

  it('is in the document, as another way for every operation that needs one', async () => {
    const { body } = await get('/openapi.json');
    expect(body['components'].securitySchemes.oidc).toMatchObject({
      type: 'oauth2',
      flows: {
        authorizationCode: {
          authorizationUrl: `${provider.issuer}/authorize?audience=orderloom-api`,
          tokenUrl: `${provider.issuer}/token`,
          scopes: expect.objectContaining({ openid: expect.any(String), 'orders:read': expect.any(String) }),
        },
      },
    });
    expect(body['paths']['/v1/orders'].post.security).toEqual(expect.arrayContaining([{ password: [] }, { oidc: [] }]));
    expect(body['paths']['/v1/products'].get.security).toBeUndefined();
  });

  it('is in the document while the provider is away, as the address where its addresses are', async () => {
    const app = await startApp({ env: { OIDC_ISSUER: 'http://127.0.0.1:1/shop', OIDC_AUDIENCE: 'orderloom-api' } });
    try {
      const { body } = await new Api(app.url).get('/openapi.json');
      expect(body['components'].securitySchemes.oidc).toMatchObject({
        type: 'openIdConnect',
        openIdConnectUrl: 'http://127.0.0.1:1/shop/.well-known/openid-configuration',
      });
    } finally {
      await app.close();
    }
  });

  it('lets Swagger UI fetch a token there, and nowhere else', async () => {
    const page = await fetch(`${shop.url}/docs`);
    expect(page.headers.get('content-security-policy')).toContain(`connect-src 'self' ${provider.issuer};`);
    // or the window in which the provider asks for the password is cut off from the page that opened it
    expect(page.headers.get('cross-origin-opener-policy')).toBe('same-origin-allow-popups');
    const script = await (await fetch(`${shop.url}/docs/swagger-ui-init.js`)).text();
    expect(script).toContain('"clientId": "orderloom-docs"');
    expect(script).toContain('"usePkceWithAuthorizationCodeGrant": true');
    // they would go to POST /v1/auth/token as well, which refuses them
    expect(script).not.toContain('additionalQueryStringParams');
    const landing = await fetch(`${shop.url}/docs/oauth2-redirect.html`);
    expect(landing.status).toBe(200);
    expect(landing.headers.get('content-security-policy')).toContain("script-src 'self'");
    expect(landing.headers.get('cross-origin-opener-policy')).toBe('unsafe-none');
    // its script is a file, which the policy allows
    expect(await landing.text()).toContain('<script src="oauth2-redirect.js"></script>');
    const closed = await fetch(`${elsewhere.url}/docs`);
    expect(closed.headers.get('content-security-policy')).toContain("connect-src 'self';");
    expect(closed.headers.get('cross-origin-opener-policy')).toBe('same-origin');
  });
});
