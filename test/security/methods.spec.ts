import type { OpenAPIObject } from '@nestjs/swagger';
import { account } from '../journeys/shop';
import { startApp, type TestApp } from '../support/app';
import { type RawAnswer, RawConnection } from '../support/raw-http';
import { builtOpenApi } from './open-api';

const uuid = '01980000-0000-7000-8000-000000000001';
const methods = ['DELETE', 'GET', 'PATCH', 'POST', 'PUT', 'PROPFIND', 'TRACE', 'QUERY'];

describe('a method', () => {
  let shop: TestApp;
  let document: OpenAPIObject;

  beforeAll(async () => {
    [shop, document] = await Promise.all([startApp(), builtOpenApi()]);
  });
  afterAll(() => shop.close());

  const send = (line: string, headers = ''): Promise<RawAnswer> =>
    new RawConnection(shop.url, `${line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n${headers}\r\n`).answered;

  /** What a path takes by the document; of `/v1/users/me` also what `/v1/users/{id}` takes. */
  const documented = (path: string): string[] => {
    const found = Object.keys(document.paths).filter((each) => {
      return new RegExp(`^${each.replace(/\{\w+\}/g, '[^/]+')}$`).test(path);
    });
    const taken = found.flatMap((each) => Object.keys(document.paths[each]!)).map((method) => method.toUpperCase());
    return [...new Set([...taken, ...(taken.includes('GET') ? ['HEAD'] : []), 'OPTIONS'])].sort();
  };

  it('that a path does not take is 405 with Allow, before signing in, for every path', async () => {
    const paths = Object.keys(document.paths).map((path) => path.replace(/\{\w+\}/g, uuid));
    expect(paths.length).toBeGreaterThan(40);
    for (const path of paths) {
      const allowed = documented(path);
      for (const method of methods.filter((each) => !allowed.includes(each))) {
        const { status, headers, body } = await send(`${method} ${path}`);
        expect({ of: `${method} ${path}`, status, allow: headers['allow'], body }).toMatchObject({
          status: 405,
          allow: allowed.join(', '),
          body: { code: 'method-not-allowed', detail: expect.stringContaining(allowed.join(', ')) },
        });
      }
    }
  });

  it('is judged by the path however it is spelled, and before the body is', async () => {
    for (const path of ['/v1/orders/', '/v1/%6frders', '/v1/orders?x=1']) {
      const { status, headers } = await send(`PUT ${path}`, 'Content-Type: text/plain\r\nContent-Length: 9999999\r\n');
      expect({ path, status, allow: headers['allow'] }).toMatchObject({
        status: 405,
        allow: 'GET, HEAD, OPTIONS, POST',
      });
    }
  });

  it('on an unknown path is 404, without Allow', async () => {
    for (const method of [...methods, 'OPTIONS']) {
      const { status, headers, body } = await send(`${method} /v1/nowhere`);
      expect({ method, status, body }).toMatchObject({ status: 404, body: { code: 'not-found' } });
      expect(headers).not.toHaveProperty('allow');
    }
  });

  it('OPTIONS is 204 with Allow, for every path and for the whole server', async () => {
    for (const path of Object.keys(document.paths).map((each) => each.replace(/\{\w+\}/g, uuid))) {
      const { status, headers, body } = await send(`OPTIONS ${path}`);
      expect({ path, status, allow: headers['allow'], body }).toMatchObject({
        status: 204,
        allow: documented(path).join(', '),
        body: '',
      });
    }
    const all = await send('OPTIONS *');
    expect(all).toMatchObject({ status: 204, headers: { allow: 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT' } });
  });

  it('HEAD is what GET is, without the body, and 405 where there is no GET', async () => {
    const { token } = await account(shop);
    for (const path of ['/v1/products', '/v1/orders', '/v1/users/me', `/v1/orders/${uuid}`, '/v1/payments']) {
      const headers = `Authorization: Bearer ${token}\r\n`;
      const [got, headed] = [await send(`GET ${path}`, headers), await send(`HEAD ${path}`, headers)];
      const shown = ({ status, headers: { 'content-type': type, 'content-length': length, etag } }: RawAnswer) => ({
        status,
        type,
        length,
        etag,
      });
      expect({ path, ...shown(headed) }).toEqual({ path, ...shown(got) });
      expect(headed.body).toBe('');
    }
    expect(await send('HEAD /v1/auth/token')).toMatchObject({ status: 405, headers: { allow: 'OPTIONS, POST' } });
  });

  it('that HTTP does not have, and CONNECT, are 501 with those that there are', async () => {
    for (const method of ['FOO', 'get', 'M-SEARCH-ALL', 'CONNECT']) {
      expect(await send(`${method} /v1/orders`)).toMatchObject({
        status: 501,
        headers: {
          allow: 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT',
          'content-type': 'application/problem+json; charset=utf-8',
        },
        body: { code: 'method-unknown', detail: expect.stringContaining(method), instance: '/' },
      });
    }
  });
});
