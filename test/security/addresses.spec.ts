import { randomUUID } from 'node:crypto';
import { account, address, order, tea } from '../journeys/shop';
import { type Answer, Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';

describe('what a request addresses', () => {
  let shop: TestApp;
  let ada: Api;
  let eve: Api;

  beforeAll(async () => {
    shop = await startApp();
    [ada, eve] = await Promise.all([account(shop), account(shop)]);
  });
  afterAll(() => shop.close());

  const send = async (path: string, body: Buffer | string, type = 'application/json', api = ada): Promise<Answer> => {
    const headers = {
      'content-type': type,
      'idempotency-key': randomUUID(),
      ...(api.token && { authorization: `Bearer ${api.token}` }),
    };
    const response = await fetch(shop.url + path, { method: 'POST', body: body as string, headers });
    return { status: response.status, headers: response.headers, body: await response.json() };
  };
  const bytes = (text: string) => Buffer.from(text, 'latin1');

  describe('in text', () => {
    // alone, cut off, too long for what it says, half of a surrogate pair, above U+10FFFF, and Latin-1
    const invalid = ['\x80', '\xe2\x82', '\xc0\xaf', '\xed\xa0\x80', '\xf4\x90\x80\x80', 'caf\xe9'];

    it('is 400 in JSON that is not UTF-8', async () => {
      for (const text of invalid) {
        const answer = await send('/v1/orders', bytes(`{"reference":"${text}"}`));
        expect(answer).toMatchObject({ status: 400, body: { code: 'malformed-encoding' } });
      }
      const sound = await send('/v1/orders', JSON.stringify({ reference: 'café €🫖' }));
      expect(sound).toMatchObject({ status: 201, body: { reference: 'café €🫖' } });
    });

    it('is 400 in a form that is not UTF-8, as it stands or percent-encoded', async () => {
      const form = 'application/x-www-form-urlencoded';
      const encoded = [...invalid].map((text) => [...bytes(text)].map((byte) => `%${byte.toString(16)}`).join(''));
      for (const text of [...invalid, ...encoded, '%', '%zz', '%e2%82']) {
        for (const body of [`username=${text}&password=x`, `${text}=x&username=a&password=x`]) {
          const answer = await send('/v1/auth/token', bytes(body), form, new Api(shop.url));
          expect({ text, status: answer.status, code: answer.body['code'] }).toEqual({
            text,
            status: 400,
            code: 'malformed-encoding',
          });
        }
      }
      const sound = await send('/v1/auth/token', 'username=caf%C3%A9+au+lait&password=%F0%9F%AB%96', form);
      expect(sound).toMatchObject({ status: 401, body: { code: 'wrong-credentials' } });
    });

    it('is 400 in a query or path that is not UTF-8', async () => {
      for (const text of ['%80', '%e2%82', '%c0%af', '%ed%a0%80', 'caf%e9', '%', '%zz']) {
        for (const path of [`/v1/products?text=${text}`, `/v1/products?${text}=1`, `/v1/products/${text}`]) {
          const answer = await ada.get(path);
          expect({ path, status: answer.status, code: answer.body['code'] }).toEqual({
            path,
            status: 400,
            code: 'bad-url',
          });
        }
      }
      expect((await ada.get('/v1/products?text=caf%C3%A9+%F0%9F%AB%96')).status).toBe(200);
    });

    it('is 415 in a body that is neither JSON nor a form', async () => {
      for (const type of ['text/plain', 'application/xml', 'application/octet-stream']) {
        expect(await send('/v1/orders', '{}', type)).toMatchObject({ status: 415 });
      }
    });
  });

  describe('in any spelling', () => {
    it('is one resource with and without a trailing slash: one idempotency key has one effect', async () => {
      const headers = { 'idempotency-key': randomUUID() };
      const body = { lines: [{ productId: tea, quantity: 1 }] };
      const first = await ada.post('/v1/orders', body, headers);
      expect(first.status).toBe(201);
      for (const path of ['/v1/orders/', '/v1/%6frders', '/v1/orders?', '/v1/orders/?']) {
        const again = await ada.post(path, body, headers);
        expect(again).toMatchObject({ status: 201, body: { id: first.body['id'] } });
        expect(again.headers.get('idempotent-replayed')).toBe('true');
      }
      const { id } = first.body as { id: string };
      const line = { productId: tea, quantity: 3 };
      const key = { 'idempotency-key': randomUUID() };
      await ada.post(`/v1/orders/${id}/lines`, line, key);
      await ada.post(`/v1/orders/${id.toUpperCase()}/lines/`, line, key);
      expect((await ada.get(`/v1/orders/${id}/`)).body).toMatchObject({ id, lineCount: 2 });
      expect((await ada.post('/v1/orders/', { ...body, reference: 'other' }, headers)).status).toBe(422);
    });

    it('has one instance in problems', async () => {
      const id = randomUUID();
      for (const path of [`/v1/orders/${id}`, `/v1/orders/${id.toUpperCase()}/`, `/v1/%6frders/${id}?version=1`]) {
        expect((await ada.get(path)).body).toMatchObject({ status: 404, instance: `/v1/orders/${id}` });
      }
      for (const path of ['/v1/nowhere', '/v1/nowhere/']) {
        expect((await ada.get(path)).body).toMatchObject({ status: 404, instance: '/v1/nowhere' });
      }
    });
  });

  describe('of somebody else', () => {
    it('is 404 before anything else is disclosed', async () => {
      const { id, lines, version } = (await order(ada, { submit: false })).body;
      const { lineId } = lines[0] as { lineId: string };
      const unknown = { productId: randomUUID(), quantity: 1 };
      const scarce = { productId: tea, quantity: 1_000_000 };
      const commands = [{ action: 'addLine', ...unknown }];
      for (const order of [id as string, randomUUID()]) {
        for (const headers of [{}, { 'if-match': `"${version}"` }, { 'if-match': '"77"' }] as Record<
          string,
          string
        >[]) {
          const answers = [
            await eve.post(`/v1/orders/${order}/lines`, unknown, headers),
            await eve.post(`/v1/orders/${order}/lines`, scarce, headers),
            await eve.patch(`/v1/orders/${order}/lines/${lineId}`, { quantity: 2 }, headers),
            await eve.patch(`/v1/orders/${order}/lines/${randomUUID()}`, { quantity: 2 }, headers),
            await eve.delete(`/v1/orders/${order}/lines/${lineId}`, undefined, headers),
            await eve.put(`/v1/orders/${order}/shipping-address`, address, headers),
            await eve.post(`/v1/orders/${order}/submit`, {}, headers),
            await eve.post(`/v1/orders/${order}/cancel`, {}, headers),
            await eve.post(`/v1/orders/${order}/simulate`, { commands }, headers),
            await eve.delete(`/v1/orders/${order}/guest`, undefined, headers),
            await eve.get(`/v1/orders/${order}?version=99`, headers),
            await eve.get(`/v1/orders/${order}/events`, headers),
            await eve.get(`/v1/orders/${order}/timeline`, headers),
          ];
          const codes = answers.map(({ status, body }) => `${status} ${body['code']}`);
          expect(codes).toEqual(answers.map(() => '404 order-unknown'));
        }
      }
      // to its owner it is the product that is unknown
      expect((await ada.post(`/v1/orders/${id}/lines`, unknown)).body['code']).toBe('product-unknown');
    });
  });

  describe('by version', () => {
    it('does not match a weak ETag: 412, and nothing changes', async () => {
      const { id, version, lines } = (await order(ada, { submit: false })).body;
      const path = `/v1/orders/${id}/lines/${lines[0].lineId}`;
      const weak = await ada.patch(path, { quantity: 7 }, { 'if-match': `W/"${version}"` });
      expect(weak).toMatchObject({ status: 412, body: { code: 'version-mismatch' } });
      for (const malformed of ['3', 'W/3', 'w/"3"', '"x"', 'W/"x"']) {
        expect((await ada.patch(path, { quantity: 7 }, { 'if-match': malformed })).status).toBe(400);
      }
      expect((await ada.get(`/v1/orders/${id}`)).body['lines'][0].quantity).toBe(2);
      expect((await ada.patch(path, { quantity: 7 }, { 'if-match': `"${version}"` })).status).toBe(200);
    });
  });
});
