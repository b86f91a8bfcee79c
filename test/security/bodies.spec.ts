import { gzipSync } from 'node:zlib';
import { account, anOrder } from '../journeys/shop';
import type { Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';

describe('a body that is not read', () => {
  let shop: TestApp;
  let ada: Api;

  beforeAll(async () => {
    shop = await startApp();
    ada = await account(shop);
  });
  afterAll(() => shop.close());

  const send = async (method: string, path: string, body: string | Buffer, headers: Record<string, string> = {}) => {
    const response = await fetch(shop.url + path, {
      method,
      body: new Uint8Array(Buffer.from(body)),
      headers: { authorization: `Bearer ${ada.token}`, 'idempotency-key': crypto.randomUUID(), ...headers },
    });
    const type = response.headers.get('content-type');
    return { status: response.status, headers: response.headers, type, body: (await response.json()) as object };
  };
  const json = { 'content-type': 'application/json' };

  it('is 415 when it is compressed, with Accept-Encoding', async () => {
    const text = JSON.stringify(anOrder());
    const zipped: [string, Buffer | string][] = [
      ['gzip', gzipSync(text)],
      ['br', text],
      ['GZIP', gzipSync(text)],
      ['identity, gzip', gzipSync(text)],
      ['whatever', text],
    ];
    for (const [encoding, body] of zipped) {
      const answer = await send('POST', '/v1/orders', body, { ...json, 'content-encoding': encoding });
      expect({ encoding, ...answer }).toMatchObject({
        status: 415,
        type: 'application/problem+json; charset=utf-8',
        body: { code: 'encoding-unsupported', detail: expect.stringContaining(encoding) },
      });
      expect(answer.headers.get('accept-encoding')).toBe('identity');
      expect(answer.headers.get('accept')).toBeNull();
    }
    const plain = await send('POST', '/v1/orders', text, { ...json, 'content-encoding': 'identity' });
    expect(plain.status).toBe(202);
    const none = await fetch(`${shop.url}/v1/products`, { headers: { 'content-encoding': 'gzip' } });
    expect(none.status).toBe(200);
  });

  it('is 415 when it is of another type or of none, and Accept, Accept-Post or Accept-Patch say which to send', async () => {
    for (const type of ['text/plain', 'application/xml', 'multipart/form-data; boundary=x', 'json', '']) {
      const post = await send('POST', '/v1/orders', '{}', { 'content-type': type });
      expect({ sent: type, ...post }).toMatchObject({
        status: 415,
        type: 'application/problem+json; charset=utf-8',
        body: { code: 'invalid-media-type', detail: expect.stringContaining('application/json') },
      });
      expect(post.headers.get('accept')).toBe('application/json');
      expect(post.headers.get('accept-post')).toBe('application/json');
      expect(post.headers.get('accept-patch')).toBeNull();
    }
    const patch = await send('PATCH', '/v1/users/me', '{}', { 'content-type': 'application/merge-patch' });
    expect(patch.status).toBe(415);
    expect(patch.headers.get('accept-patch')).toBe('application/json');
  });

  it('is read whatever the client would rather get: the answer is JSON', async () => {
    const { status, headers } = await fetch(`${shop.url}/v1/products`, { headers: { accept: 'text/html' } });
    expect({ status, type: headers.get('content-type') }).toEqual({
      status: 200,
      type: 'application/json; charset=utf-8',
    });
  });
});
