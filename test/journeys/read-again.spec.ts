import { builtOpenApi } from '../security/open-api';
import type { Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { account, order, ordersOf, tea, teapot, waiting } from './shop';

describe('a resource that is read again', () => {
  let shop: TestApp;
  let ada: Api;

  beforeAll(async () => {
    shop = await startApp();
    ada = await account(shop);
  });
  afterAll(() => shop.close());

  /** Without what fetch adds: it would not let a 304 through to a caller that it believes to have a copy. */
  const read = async (path: string, api: Api, seen?: string, method = 'GET') => {
    const response = await fetch(shop.url + path, {
      method,
      headers: { authorization: `Bearer ${api.token}`, ...(seen && { 'if-none-match': seen }) },
    });
    return { status: response.status, headers: response.headers, text: await response.text() };
  };
  const etagOf = async (path: string, api = shop.admin) => (await read(path, api)).headers.get('etag')!;

  it('is 304 without a body while it is as it was, for every resource with an ETag', async () => {
    const { paths } = await builtOpenApi();
    const documented = Object.keys(paths).filter((path) => paths[path]!.get?.responses['304']);
    const placed = await ordersOf(ada, await order(ada, {}, waiting));
    const ids: Record<string, string> = {
      '/v1/orders/{id}': placed['id'],
      '/v1/payments/{id}': placed['paymentId'],
      '/v1/shipments/{id}': placed['shipmentId'],
      '/v1/products/{id}': tea,
      '/v1/products/{id}/stock': tea,
      '/v1/users/{id}': placed['customerId'],
      '/v1/users/me': '',
    };
    expect(documented.toSorted()).toEqual(Object.keys(ids).toSorted());
    for (const documentedPath of documented) {
      const path = documentedPath.replace('{id}', ids[documentedPath]!);
      const first = await read(path, shop.admin);
      const etag = first.headers.get('etag')!;
      expect({ path, etag }).toEqual({ path, etag: expect.stringMatching(/^"\d+(\.[a-z]+){0,2}\+[\w-]{16}"$/) });
      for (const seen of [etag, `W/${etag}`, `"0", ${etag}`, `W/"x,y",W/${etag} ,"z"`, '*']) {
        const again = await read(path, shop.admin, seen);
        expect({ path, seen, status: again.status, text: again.text }).toEqual({ path, seen, status: 304, text: '' });
        for (const name of ['etag', 'cache-control', 'vary']) {
          expect(again.headers.get(name)).toBe(first.headers.get(name));
        }
        for (const name of ['content-type', 'content-length']) expect(again.headers.get(name)).toBeNull();
      }
      for (const seen of ['"0"', etag.replace(/\+.*/, '"'), etag.slice(1, -1), `x${etag}`.replaceAll('"', '')]) {
        expect(await read(path, shop.admin, seen)).toMatchObject({ status: 200, text: first.text });
      }
      const head = await read(path, shop.admin, etag, 'HEAD');
      expect({ path, status: head.status, etag: head.headers.get('etag') }).toEqual({ path, status: 304, etag });
    }
  });

  it('is sent again when anything in it changed, also what its version does not count', async () => {
    const product = `/v1/products/${teapot}`;
    const [etag, version] = [await etagOf(product), (await shop.admin.get(product)).body['version'] as number];
    await shop.admin.post(`${product}/stock-adjustments`, { delta: 5, reason: 'found' });
    const again = await read(product, shop.admin, etag);
    expect(again.status).toBe(200);
    expect(JSON.parse(again.text)).toMatchObject({ version, available: 45 });
    // the catalogue's editor is not disturbed by that
    expect((await shop.admin.patch(product, { name: 'Pot' }, { 'if-match': etag })).status).toBe(200);
    expect((await shop.admin.patch(product, { name: 'Jug' }, { 'if-match': etag })).status).toBe(412);
  });

  it('is sent again when its customer was erased', async () => {
    const leaving = await account(shop);
    const placed = await ordersOf(leaving, await order(leaving, {}, waiting));
    const path = `/v1/orders/${placed['id']}`;
    for (const what of ['dispatch', 'deliver']) {
      await shop.admin.post(`/v1/shipments/${placed['shipmentId']}/${what}`, {});
    }
    await shop.settled();
    const etag = await etagOf(path);
    const { version } = (await shop.admin.get(path)).body;
    expect((await read(path, shop.admin, etag)).status).toBe(304);
    await leaving.delete('/v1/users/me');
    await shop.settled();
    const again = await read(path, shop.admin, etag);
    expect(again.status).toBe(200);
    expect(JSON.parse(again.text)).toMatchObject({ version, shippingAddress: { name: '[erased]' } });
  });

  it('is never the copy of somebody else at the same address', async () => {
    const [first, second] = [await account(shop), await account(shop)];
    const etag = await etagOf('/v1/users/me', first);
    const { status, text } = await read('/v1/users/me', second, etag);
    expect({ status, id: JSON.parse(text).id }).toEqual({
      status: 200,
      id: (await second.get('/v1/users/me')).body['id'],
    });
  });

  it('may be kept by its reader, and by everybody only if everybody may read it; nothing else may be kept', async () => {
    const of = async (path: string) => {
      const { headers } = await read(path, ada);
      return [headers.get('cache-control'), headers.get('vary')];
    };
    const { id } = (await order(ada, { submit: false })).body;
    expect(await of(`/v1/orders/${id}`)).toEqual(['private, no-cache', 'Authorization, X-API-Key']);
    expect(await of('/v1/users/me')).toEqual(['private, no-cache', 'Authorization, X-API-Key']);
    expect(await of(`/v1/products/${tea}`)).toEqual(['no-cache', null]);
    expect(await of('/v1/orders')).toEqual(['no-store', null]);
    expect(await of(`/v1/payments/${id}`)).toEqual(['no-store', null]);
    const changed = await ada.post('/v1/orders', { lines: [] });
    expect(changed.headers.get('cache-control')).toBe('no-store');
  });
});
