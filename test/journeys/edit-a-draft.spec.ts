import { randomUUID } from 'node:crypto';
import type { Answer, Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import {
  account,
  address,
  expectBooksInOrder,
  idOf,
  order,
  ordersOf,
  sencha,
  stockOf,
  tea,
  teapot,
  waiting,
} from './shop';

describe('editing a draft', () => {
  let shop: TestApp;
  let ada: Api;

  beforeAll(async () => {
    shop = await startApp();
    ada = await shop.customer();
  });
  afterAll(() => shop.close());

  const newDraft = (change: object = {}) => order(ada, { submit: false, ...change });
  const draftPath = async (change: object = {}) => `/v1/orders/${(await newDraft(change)).body['id']}`;
  const line = (answer: Answer, nth = 0) => answer.body['lines'][nth];

  describe('line by line', () => {
    let path: string;
    let lineId: string;

    it('begins with nothing in it', async () => {
      const draft = await ada.post('/v1/orders', {});
      expect(draft.status).toBe(201);
      path = draft.headers.get('location')!;
      expect(draft.headers.get('etag')).toMatch(/^"1\+/);
      expect(draft.body).toMatchObject({
        status: 'draft',
        paymentStatus: 'none',
        fulfilmentStatus: 'none',
        total: { amountMinor: 0 },
        lineCount: 0,
        lines: [],
        version: 1,
        allowedActions: ['addLine', 'changeLine', 'removeLine', 'setShippingAddress', 'submit', 'cancel'],
      });
    });

    it('cannot be submitted like that', async () => {
      const { status, headers, body } = await ada.post(`${path}/submit`);
      expect(headers.get('content-type')).toMatch(/^application\/problem\+json/);
      expect({ status, ...body }).toMatchObject({ status: 409, code: 'order-empty' });
      expect(body['allowedActions']).toContain('addLine');
    });

    it('takes a line', async () => {
      const added = await ada.post(`${path}/lines`, { productId: tea, quantity: 2 });
      expect(added.status).toBe(201);
      expect(added.headers.get('etag')).toMatch(/^"2\+/);
      expect(added.body).toMatchObject({ version: 2, lineCount: 1, total: { amountMinor: 2500, currency: 'EUR' } });
      expect(line(added)).toMatchObject({ sku: 'TEA-EG-100', quantity: 2, total: { amountMinor: 2500 } });
      lineId = line(added)['lineId'] as string;
    });

    it('takes the same product once more, as a line of its own', async () => {
      const added = await ada.post(`${path}/lines`, { productId: tea, quantity: 1 });
      expect(added.body).toMatchObject({ version: 3, lineCount: 2, total: { amountMinor: 3750 } });
      expect(line(added, 1)['lineId']).not.toBe(lineId);
    });

    it('changes a quantity', async () => {
      const changed = await ada.patch(`${path}/lines/${lineId}`, { quantity: 5 });
      expect(changed).toMatchObject({ status: 200, body: { version: 4, total: { amountMinor: 7500 } } });
      expect(changed.headers.get('etag')).toMatch(/^"4\+/);
    });

    it('says nothing new when the quantity is the same', async () => {
      expect((await ada.patch(`${path}/lines/${lineId}`, { quantity: 5 })).body).toMatchObject({ version: 4 });
    });

    it('removes a line', async () => {
      const removed = await ada.delete(`${path}/lines/${lineId}`);
      expect(removed).toMatchObject({ status: 200, body: { version: 5, lineCount: 1, total: { amountMinor: 1250 } } });
    });

    it('knows no line that was removed', async () => {
      const gone = { status: 404, body: { code: 'line-unknown' } };
      expect(await ada.delete(`${path}/lines/${lineId}`)).toMatchObject(gone);
      expect(await ada.patch(`${path}/lines/${lineId}`, { quantity: 1 })).toMatchObject(gone);
      expect(await ada.patch(`${path}/lines/${randomUUID()}`, { quantity: 1 })).toMatchObject(gone);
    });

    it('learns where it goes, and keeps still when told again', async () => {
      const set = await ada.put(`${path}/shipping-address`, address);
      expect(set).toMatchObject({ status: 200, body: { version: 6, shippingAddress: address } });
      expect((await ada.put(`${path}/shipping-address`, address)).body).toMatchObject({ version: 6 });
      const moved = { ...address, line2: 'First floor' };
      expect((await ada.put(`${path}/shipping-address`, moved)).body).toMatchObject({
        version: 7,
        shippingAddress: moved,
      });
    });

    it('wants to know how it is paid', async () => {
      const { status, body } = await ada.post(`${path}/submit`);
      expect({ status, ...body }).toMatchObject({ status: 409, code: 'payment-method-missing' });
    });

    it('is placed', async () => {
      const placed = await ada.post(`${path}/submit`, { paymentMethod: 'sandbox_ok' }, waiting);
      expect(placed).toMatchObject({ status: 202, body: { status: 'fulfilling', paymentMethod: 'sandbox_ok' } });
    });

    it('is not a draft any more then', async () => {
      const { lines } = await ordersOf(ada, await ada.get(path));
      const [{ lineId }] = lines;
      const refused = { status: 409, body: { code: 'order-not-draft', allowedActions: ['cancel'] } };
      expect(await ada.post(`${path}/lines`, { productId: tea, quantity: 1 })).toMatchObject(refused);
      expect(await ada.patch(`${path}/lines/${lineId}`, { quantity: 2 })).toMatchObject(refused);
      expect(await ada.delete(`${path}/lines/${lineId}`)).toMatchObject(refused);
      expect(await ada.put(`${path}/shipping-address`, address)).toMatchObject(refused);
      expect((await ada.get(path)).body).toMatchObject({ lineCount: 1, shippingAddress: { line2: 'First floor' } });
    });
  });

  it('cannot be submitted before it is known where it goes', async () => {
    const path = await draftPath({ shippingAddress: undefined });
    expect(await ada.post(`${path}/submit`)).toMatchObject({ status: 409, body: { code: 'address-missing' } });
  });

  describe('with If-Match', () => {
    const stale = { 'if-match': '"1"' };

    it('refuses every change of what has changed since, and changes nothing', async () => {
      const draft = await newDraft();
      const path = `/v1/orders/${draft.body['id']}`;
      const { lineId } = line(draft);
      await ada.post(`${path}/lines`, { productId: sencha, quantity: 1 });
      for (const answer of [
        await ada.post(`${path}/lines`, { productId: tea, quantity: 1 }, stale),
        await ada.patch(`${path}/lines/${lineId}`, { quantity: 3 }, stale),
        await ada.delete(`${path}/lines/${lineId}`, undefined, stale),
        await ada.put(`${path}/shipping-address`, { ...address, city: 'Ockham' }, stale),
        await ada.post(`${path}/submit`, {}, stale),
        await ada.post(`${path}/cancel`, {}, stale),
      ]) {
        expect(answer).toMatchObject({ status: 412, body: { code: 'version-mismatch' } });
      }
      expect((await ada.get(path)).body).toMatchObject({ status: 'draft', version: 2, lineCount: 2 });
    });

    it('goes on with the version that was read', async () => {
      const path = await draftPath();
      const read = await ada.get(path);
      const etag = { 'if-match': read.headers.get('etag')! };
      const added = await ada.post(`${path}/lines`, { productId: sencha, quantity: 1 }, etag);
      expect(added).toMatchObject({ status: 201, body: { version: 2 } });
      const any = await ada.post(`${path}/lines`, { productId: sencha, quantity: 1 }, { 'if-match': '*' });
      expect(any).toMatchObject({ status: 201, body: { version: 3 } });
    });

    it('lets one of two win', async () => {
      const path = await draftPath();
      const statuses = await Promise.all(
        [sencha, teapot].map((productId) => ada.post(`${path}/lines`, { productId, quantity: 1 }, stale)),
      );
      expect(statuses.map(({ status }) => status).sort()).toEqual([201, 412]);
      expect((await ada.get(path)).body).toMatchObject({ version: 2, lineCount: 2 });
    });

    it('takes the form of an ETag only', async () => {
      const path = await draftPath();
      for (const malformed of ['1', '"one"', '"1", "2"', '"99999999999999999999"', '']) {
        const answer = await ada.post(`${path}/cancel`, {}, { 'if-match': malformed });
        expect(answer).toMatchObject({ status: 400, body: { code: 'if-match-malformed' } });
      }
    });

    it('is a must where a product or a name is changed', async () => {
      const missing = { status: 428, body: { code: 'if-match-required' } };
      expect(await shop.admin.patch(`/v1/products/${tea}`, { name: 'Tea' })).toMatchObject(missing);
      expect(await shop.admin.delete(`/v1/products/${tea}`)).toMatchObject(missing);
      expect(await ada.patch('/v1/users/me', { name: 'Countess' })).toMatchObject(missing);
      const me = await ada.get('/v1/users/me');
      const etag = { 'if-match': me.headers.get('etag')! };
      expect(await ada.patch('/v1/users/me', { name: 'Countess' }, etag)).toMatchObject({ body: { name: 'Countess' } });
      expect(await ada.patch('/v1/users/me', { name: 'Ada' }, etag)).toMatchObject({ status: 412 });
    });
  });

  it('keeps all of many changes at once', async () => {
    const path = await draftPath({ lines: [] });
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => ada.post(`${path}/lines`, { productId: sencha, quantity: 1 })),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(6).fill(201));
    expect((await ada.get(path)).body).toMatchObject({ version: 7, lineCount: 6 });
  });

  it('shows each change to whoever made it, at once', async () => {
    const path = await draftPath({ lines: [] });
    for (let nth = 1; nth <= 20; nth++) {
      const added = await ada.post(`${path}/lines`, { productId: tea, quantity: nth });
      const [order, list, events, timeline] = await Promise.all([
        ada.get(path),
        ada.get('/v1/orders?limit=1'),
        ada.get(`${path}/events?limit=100`),
        ada.get(`${path}/timeline?limit=100`),
      ]);
      expect(added.body).toMatchObject({ version: nth + 1, lineCount: nth });
      expect(order.body['version']).toBeGreaterThanOrEqual(added.body['version'] as number);
      expect(list.body['data'][0]).toMatchObject({ id: added.body['id'], version: nth + 1 });
      expect(events.body['data']).toHaveLength(nth + 1);
      expect(timeline.body['data']).toHaveLength(nth + 1);
    }
  });

  describe('is refused', () => {
    it('for a product that there is not', async () => {
      const productId = randomUUID();
      const lines = [
        { productId: tea, quantity: 1 },
        { productId, quantity: 1 },
      ];
      const { status, body } = await ada.post('/v1/orders', { lines });
      expect({ status, ...body }).toMatchObject({ status: 422, code: 'product-unknown' });
      expect(body['errors']).toEqual([{ pointer: '/lines/1/productId', message: expect.stringContaining(productId) }]);
      const path = await draftPath();
      expect(await ada.post(`${path}/lines`, { productId, quantity: 1 })).toMatchObject({
        status: 422,
        body: { code: 'product-unknown' },
      });
    });

    it('for two currencies in one order', async () => {
      const product = { sku: 'PIE', name: 'Pumpkin pie', price: { amountMinor: 900, currency: 'USD' } };
      const { body } = await shop.admin.post('/v1/products', product);
      await shop.admin.post(`/v1/products/${body['id']}/stock-adjustments`, { delta: 9, reason: 'baked' });
      const pie = { productId: body['id'] as string, quantity: 1 };
      const refused = { status: 422, body: { code: 'mixed-currency' } };
      expect(await ada.post('/v1/orders', { lines: [{ productId: tea, quantity: 1 }, pie] })).toMatchObject(refused);
      expect(await ada.post(`${await draftPath()}/lines`, pie)).toMatchObject(refused);
      const abroad = await order(ada, { lines: [pie] }, waiting);
      expect(abroad.body).toMatchObject({ status: 'fulfilling', total: { amountMinor: 900, currency: 'USD' } });
    });

    it('takes the currency of its first line, whichever that was', async () => {
      const { body } = await shop.admin.get('/v1/products?sku=PIE');
      const path = await draftPath({ lines: [] });
      const added = await ada.post(`${path}/lines`, { productId: body['data'][0].id, quantity: 1 });
      expect(added).toMatchObject({ status: 201, body: { total: { amountMinor: 900, currency: 'USD' } } });
      const placed = await ada.post(`${path}/submit`, {}, waiting);
      expect(placed.body).toMatchObject({ status: 'fulfilling', total: { amountMinor: 900, currency: 'USD' } });
      const payments = await shop.admin.get(`/v1/payments?orderId=${placed.body['id']}`);
      expect(payments.body['data']).toMatchObject([{ amount: { amountMinor: 900, currency: 'USD' } }]);
    });

    it('for more than there is, with a list of what is short', async () => {
      const { available } = await stockOf(shop, teapot);
      const lines = [
        { productId: teapot, quantity: available },
        { productId: teapot, quantity: 1 },
      ];
      const { status, body } = await ada.post('/v1/orders', { lines });
      expect({ status, ...body }).toMatchObject({
        status: 409,
        code: 'unavailable',
        short: [{ productId: teapot, sku: 'POT-CI-08', requested: available + 1, available }],
      });
    });

    it('for a product that is no longer sold', async () => {
      const product = { sku: 'OLD', name: 'Old tea', price: { amountMinor: 1, currency: 'EUR' } };
      const { body } = await shop.admin.post('/v1/products', product);
      const productId = body['id'] as string;
      await shop.admin.post(`/v1/products/${productId}/stock-adjustments`, { delta: 5, reason: 'found' });
      const { headers } = await shop.admin.get(`/v1/products/${productId}`);
      const archived = await shop.admin.delete(`/v1/products/${productId}`, undefined, {
        'if-match': headers.get('etag')!,
      });
      expect(archived.status).toBe(204);
      const answer = await ada.post('/v1/orders', { lines: [{ productId, quantity: 1 }] });
      expect(answer).toMatchObject({
        status: 409,
        body: { code: 'unavailable', short: [{ productId, available: 0 }] },
      });
    });

    it('for a user that there is not, or who left', async () => {
      const unknown = { status: 404, body: { code: 'user-unknown' } };
      expect(await shop.admin.post('/v1/orders', { customerId: randomUUID() })).toMatchObject(unknown);
      const grace = await account(shop);
      const customerId = await idOf(grace);
      await shop.admin.post(`/v1/users/${customerId}/deactivate`);
      expect(await shop.admin.post('/v1/orders', { customerId })).toMatchObject(unknown);
    });

    it('with what makes no sense', async () => {
      for (const [body, pointer] of [
        [{ lines: [{ productId: tea, quantity: 0 }] }, '/lines/0/quantity'],
        [{ lines: [{ productId: tea, quantity: -1 }] }, '/lines/0/quantity'],
        [{ lines: [{ productId: tea, quantity: 1.5 }] }, '/lines/0/quantity'],
        [{ lines: [{ productId: tea, quantity: '1' }] }, '/lines/0/quantity'],
        [{ lines: [{ productId: 'tea', quantity: 1 }] }, '/lines/0/productId'],
        [{ lines: [null] }, '/lines'],
        [{ lines: {} }, '/lines'],
        [{ lines: 'tea' }, '/lines'],
        [{ shippingAddress: { ...address, countryCode: 'gb' } }, '/shippingAddress/countryCode'],
        [{ shippingAddress: { ...address, planet: 'Earth' } }, '/shippingAddress/planet'],
        [{ paymentMethod: '4111 1111 1111 1111' }, '/paymentMethod'],
        [{ submit: 'yes' }, '/submit'],
        [{ totla: 1 }, '/totla'],
      ] as const) {
        const answer = await ada.post('/v1/orders', body);
        expect({ sent: body, ...answer.body }).toMatchObject({ sent: body, status: 400, code: 'validation' });
        expect(answer.body['errors'][0].pointer).toMatch(pointer);
      }
    });
  });

  it('takes null for left out', async () => {
    const answer = await ada.post('/v1/orders', {
      lines: null,
      shippingAddress: null,
      paymentMethod: null,
      submit: null,
      reference: null,
      customerId: null,
      guest: null,
      orderedAt: null,
    });
    expect(answer).toMatchObject({ status: 201, body: { status: 'draft', lines: [], shippingAddress: null } });
    const lines = [{ productId: tea, quantity: 1, unitPrice: null }];
    const shippingAddress = { ...address, line2: null, postalCode: null };
    const placed = await order(
      ada,
      { lines, shippingAddress, customerId: null, guest: null, orderedAt: null },
      waiting,
    );
    expect(placed.body).toMatchObject({ status: 'fulfilling', total: { amountMinor: 1250 }, shippingAddress: address });
    const cancelled = await ada.post(`/v1/orders/${answer.body['id']}/cancel`, { reason: null });
    expect(cancelled.body).toMatchObject({ status: 'cancelled', cancellation: { reason: 'cancelled on request' } });
  });

  it('leaves the books in order', () => expectBooksInOrder(shop));
});
