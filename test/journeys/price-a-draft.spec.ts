import { randomUUID } from 'node:crypto';
import { DomainError } from '../../src/kernel/domain-error';
import { GetOrderHandler } from '../../src/modules/orders/views/order-details';
import type { Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import {
  account,
  anOrder,
  expectBooksInOrder,
  fullStory,
  moneyOf,
  order,
  query,
  stockOf,
  story,
  tea,
  waiting,
} from './shop';

describe('the prices of a draft', () => {
  let shop: TestApp;
  let ada: Api;
  let staff: Api;

  beforeAll(async () => {
    shop = await startApp();
    ada = await shop.customer();
    staff = await account(shop, ['staff']);
  });
  afterEach(() => jest.restoreAllMocks());
  afterAll(() => shop.close());

  const eur = (amountMinor: number) => ({ amountMinor, currency: 'EUR' });

  /** A new product at 10.00 of which there are 20. */
  async function product(amountMinor = 1000): Promise<string> {
    const sku = `P-${randomUUID()}`;
    const { body } = await shop.admin.post('/v1/products', { sku, name: 'A product', price: eur(amountMinor) });
    const id = body['id'] as string;
    await shop.admin.post(`/v1/products/${id}/stock-adjustments`, { delta: 20, reason: 'made' });
    return id;
  }
  async function reprice(productId: string, amountMinor: number, currency = 'EUR'): Promise<void> {
    const etag = { 'if-match': (await shop.admin.get(`/v1/products/${productId}`)).headers.get('etag')! };
    const { status } = await shop.admin.patch(`/v1/products/${productId}`, { price: { amountMinor, currency } }, etag);
    expect(status).toBe(200);
  }
  /** Of one piece. */
  async function draftOf(productId: string, api = ada) {
    const { body } = await order(api, { submit: false, lines: [{ productId, quantity: 1 }] });
    return { path: `/v1/orders/${body['id']}`, id: body['id'] as string, lineId: body['lines'][0].lineId as string };
  }

  it('follow the catalogue when a quantity changes, and the response says so', async () => {
    const productId = await product();
    const { path, lineId } = await draftOf(productId);
    await reprice(productId, 5000);
    const changed = await ada.patch(`${path}/lines/${lineId}`, { quantity: 10 });
    expect(changed).toMatchObject({
      status: 200,
      body: {
        total: eur(50_000),
        lines: [{ quantity: 10, unitPrice: eur(5000) }],
        priceChanged: [{ lineId, productId, from: eur(1000), to: eur(5000) }],
      },
    });
    const read = await ada.get(path);
    expect(read.body).toMatchObject({ total: eur(50_000), lines: [{ unitPrice: eur(5000) }] });
    expect(read.body).not.toHaveProperty('priceChanged');
    const again = await ada.patch(`${path}/lines/${lineId}`, { quantity: 9 });
    expect(again.body).not.toHaveProperty('priceChanged');
  });

  it('follow the catalogue when another line comes or goes', async () => {
    const productId = await product();
    const { path } = await draftOf(productId);
    await reprice(productId, 1100);
    const added = await ada.post(`${path}/lines`, { productId: tea, quantity: 1 });
    expect(added.body).toMatchObject({ total: eur(2350), priceChanged: [{ from: eur(1000), to: eur(1100) }] });
    await reprice(productId, 1200);
    const removed = await ada.delete(`${path}/lines/${added.body['lines'][1].lineId}`);
    expect(removed.body).toMatchObject({ total: eur(1200), priceChanged: [{ from: eur(1100), to: eur(1200) }] });
  });

  it('follow the catalogue at the submission, and that is what is charged', async () => {
    const productId = await product();
    const { path, id } = await draftOf(productId);
    await reprice(productId, 900);
    const simulated = await ada.post(`${path}/simulate`, { commands: [{ action: 'submit' }] });
    expect(simulated.body).toMatchObject({
      total: eur(900),
      results: [{ events: [{ type: 'order.prices-changed' }, {}] }],
    });
    const placed = await ada.post(`${path}/submit`, {}, waiting);
    expect(placed.body).toMatchObject({ status: 'fulfilling', total: eur(900), priceChanged: [{ from: eur(1000) }] });
    expect(await moneyOf(shop, id)).toEqual({ charges: 1, keptMinor: 900 });
    expect(await story(shop, placed)).toEqual(expect.arrayContaining(['order.prices-changed', 'order.submitted']));
  });

  it('are told of again when the request is repeated because its response was lost', async () => {
    const productId = await product();
    const { path } = await draftOf(productId);
    await reprice(productId, 900);
    const key = { 'idempotency-key': randomUUID() };
    const lost = new DomainError('not-found', 'missing', 'It is not there.');
    jest.spyOn(GetOrderHandler.prototype, 'execute').mockRejectedValueOnce(lost);
    expect((await ada.post(`${path}/submit`, {}, key)).status).toBe(503);
    const again = await ada.post(`${path}/submit`, {}, key);
    expect(again).toMatchObject({
      status: 202,
      body: { priceChanged: [{ productId, from: eur(1000), to: eur(900) }] },
    });
    await shop.settled();
  });

  it('are placed only at the total that the client displayed, if it says which', async () => {
    const productId = await product();
    const { path, id, lineId } = await draftOf(productId);
    await reprice(productId, 5000);
    const refused = await ada.post(`${path}/submit`, { expectedTotal: eur(1000) });
    expect(refused).toMatchObject({
      status: 409,
      body: {
        code: 'price-changed',
        total: eur(5000),
        lines: [{ lineId, productId, quantity: 1, unitPrice: eur(5000), previousUnitPrice: eur(1000) }],
      },
    });
    expect((await ada.get(path)).body).toMatchObject({ status: 'draft', version: 1, total: eur(1000) });
    const other = await ada.post(`${path}/submit`, { expectedTotal: { amountMinor: 5000, currency: 'USD' } });
    expect(other).toMatchObject({ status: 409, body: { code: 'price-changed' } });
    const placed = await ada.post(`${path}/submit`, { expectedTotal: eur(5000) }, waiting);
    expect(placed).toMatchObject({ status: 202, body: { status: 'fulfilling', total: eur(5000) } });
    expect(await moneyOf(shop, id)).toEqual({ charges: 1, keptMinor: 5000 });
  });

  it.each([true, false])('are compared with it before an order is made (submit: %s)', async (submit) => {
    const reference = randomUUID();
    const asked = anOrder({ reference, submit, expectedTotal: eur(2499) });
    expect(await ada.post('/v1/orders', asked)).toMatchObject({
      status: 409,
      body: { code: 'price-changed', total: eur(2500), lines: [{ productId: tea, unitPrice: eur(1250) }] },
    });
    expect((await ada.get(`/v1/orders?reference=${reference}`)).body['data']).toEqual([]);
    const made = await ada.post('/v1/orders', { ...asked, expectedTotal: eur(2500) }, waiting);
    expect(made).toMatchObject({ status: submit ? 202 : 201, body: { total: eur(2500) } });
  });

  it('cannot come to be in two currencies, and that can be mended', async () => {
    const productId = await product();
    const { path, lineId } = await draftOf(productId);
    const added = await ada.post(`${path}/lines`, { productId: tea, quantity: 1 });
    await reprice(productId, 1000, 'USD');
    const refused = { status: 422, body: { code: 'mixed-currency' } };
    expect(await ada.post(`${path}/submit`)).toMatchObject(refused);
    expect(await ada.patch(`${path}/lines/${lineId}`, { quantity: 2 })).toMatchObject(refused);
    const removed = await ada.delete(`${path}/lines/${added.body['lines'][1].lineId}`);
    expect(removed.body).toMatchObject({
      total: { amountMinor: 1000, currency: 'USD' },
      priceChanged: [{ from: eur(1000), to: { amountMinor: 1000, currency: 'USD' } }],
    });
  });

  it('that staff agreed to are kept, for the quantity that staff agreed to', async () => {
    const productId = await product();
    const { path } = await draftOf(tea);
    const quote = { productId, quantity: 2, unitPrice: eur(700) };
    const quoted = await staff.post(`${path}/lines`, quote);
    expect(quoted.body).toMatchObject({ total: eur(1250 + 1400) });
    const line = `${path}/lines/${quoted.body['lines'][1].lineId}`;
    expect((await staff.patch(line, { quantity: 3 })).body).toMatchObject({ total: eur(1250 + 2100) });
    expect((await ada.patch(line, { quantity: 3 })).body).toMatchObject({ total: eur(1250 + 2100) });
    const changed = await ada.patch(line, { quantity: 4 });
    expect(changed.body).toMatchObject({ total: eur(1250 + 4000), priceChanged: [{ from: eur(700), to: eur(1000) }] });
  });

  it('that are refused leave nothing behind, not even a key for the person who would have got it', async () => {
    const ordering = await account(shop);
    const keys = () => query(shop, 'select person from personal_data.keys');
    const before = await keys();
    const refused = { status: 409, body: { code: 'unavailable' } };
    const lines = [{ productId: await product(), quantity: 21 }];
    expect(await ordering.post('/v1/orders', anOrder({ lines }))).toMatchObject(refused);
    expect(await shop.admin.post('/v1/orders', anOrder({ lines, guest: { name: 'Grace' } }))).toMatchObject(refused);
    expect(await keys()).toEqual(before);
  });

  describe('with too little in stock', () => {
    it('cannot be changed or placed beyond it, and nothing is lost', async () => {
      const productId = await product();
      const { path, lineId } = await draftOf(productId);
      const unavailable = (requested: number, available: number) => ({
        status: 409,
        body: { code: 'unavailable', short: [{ productId, requested, available }] },
      });
      expect(await ada.patch(`${path}/lines/${lineId}`, { quantity: 999_999 })).toMatchObject(unavailable(999_999, 20));
      expect(await ada.post(`${path}/lines`, { productId, quantity: 20 })).toMatchObject(unavailable(21, 20));
      expect((await ada.patch(`${path}/lines/${lineId}`, { quantity: 20 })).status).toBe(200);
      await shop.admin.post(`/v1/products/${productId}/stock-adjustments`, { delta: -15, reason: 'broken' });
      const before = (await ada.get(path)).body;
      expect(await ada.post(`${path}/submit`, {}, waiting)).toMatchObject(unavailable(20, 5));
      expect((await ada.get(path)).body).toEqual(before);
      expect((await ada.patch(`${path}/lines/${lineId}`, { quantity: 5 })).status).toBe(200);
      expect((await ada.post(`${path}/submit`, {}, waiting)).body).toMatchObject({ status: 'fulfilling' });
      expect(await stockOf(shop, productId)).toEqual({ onHand: 5, reserved: 5, available: 0 });
    });
  });

  describe('of nothing', () => {
    it.each([undefined, 'sandbox_declined'])('are not asked for (payment method: %s)', async (paymentMethod) => {
      const productId = await product(0);
      const placed = await order(ada, { lines: [{ productId, quantity: 2 }], paymentMethod }, waiting);
      expect(placed.body).toMatchObject({ status: 'fulfilling', paymentStatus: 'none', total: eur(0) });
      expect((await shop.admin.get(`/v1/payments?orderId=${placed.body['id']}`)).body['data']).toEqual([]);
      expect(await stockOf(shop, productId)).toMatchObject({ reserved: 2 });
      for (const action of ['dispatch', 'deliver']) {
        await shop.admin.post(`/v1/shipments/${placed.body['shipmentId']}/${action}`);
      }
      await shop.settled();
      expect((await ada.get(`/v1/orders/${placed.body['id']}`)).body).toMatchObject({ status: 'completed' });
    });

    it('leave an order that can be cancelled like any other', async () => {
      const productId = await product(0);
      const placed = await order(ada, { lines: [{ productId, quantity: 2 }], paymentMethod: undefined }, waiting);
      await ada.post(`/v1/orders/${placed.body['id']}/cancel`);
      await shop.settled();
      expect((await ada.get(`/v1/orders/${placed.body['id']}`)).body).toMatchObject({
        status: 'cancelled',
        paymentStatus: 'none',
        fulfilmentStatus: 'cancelled',
      });
      expect(await stockOf(shop, productId)).toEqual({ onHand: 20, reserved: 0, available: 20 });
      expect(await fullStory(shop, placed.body['id'] as string)).toContain('saga.compensated');
    });
  });

  it('leave the books in order', () => expectBooksInOrder(shop));
});
