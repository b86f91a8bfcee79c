import { randomUUID } from 'node:crypto';
import { eventually } from '../kernel/support';
import type { Answer, Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { after, happened, order, waiting } from './shop';

describe('an ETag', () => {
  let shop: TestApp;
  let ada: Api;

  beforeAll(async () => {
    shop = await startApp();
    ada = await shop.customer();
  });
  afterAll(() => shop.close());

  const mismatch = { status: 412, body: { code: 'version-mismatch' } };
  const etagOf = async (path: string, api = shop.admin) => (await api.get(path)).headers.get('etag')!;
  const ifMatch = (etag: string) => ({ 'if-match': etag });

  describe('of stock', () => {
    let productId: string;
    let product: string;

    beforeEach(async () => {
      const made = { sku: `S-${randomUUID()}`, name: 'A product', price: { amountMinor: 1000, currency: 'EUR' } };
      productId = (await shop.admin.post('/v1/products', made)).body['id'] as string;
      product = `/v1/products/${productId}`;
      await shop.admin.post(`${product}/stock-adjustments`, { delta: 10, reason: 'made' });
    });

    const adjust = (etag: string): Promise<Answer> =>
      shop.admin.post(`${product}/stock-adjustments`, { delta: 1, reason: 'counted' }, ifMatch(etag));

    it('guards an adjustment, and moves with it', async () => {
      const etag = await etagOf(`${product}/stock`);
      const adjusted = await adjust(etag);
      expect(adjusted).toMatchObject({ status: 201, body: { onHand: 11 } });
      expect(adjusted.headers.get('etag')).toBe(await etagOf(`${product}/stock`));
      expect(await adjust(etag)).toMatchObject(mismatch);
    });

    it('moves with whatever orders do to the stock', async () => {
      const seen = [await etagOf(`${product}/stock`)];
      const placed = await order(ada, { lines: [{ productId, quantity: 1 }] }, waiting);
      seen.push(await etagOf(`${product}/stock`));
      await shop.admin.post(`/v1/shipments/${placed.body['shipmentId']}/dispatch`);
      await after(shop, placed, 'stock.committed');
      seen.push(await etagOf(`${product}/stock`));
      const other = await order(ada, { lines: [{ productId, quantity: 1 }] }, waiting);
      await ada.post(`/v1/orders/${other.body['id']}/cancel`);
      await shop.settled();
      seen.push(await etagOf(`${product}/stock`));
      expect(new Set(seen).size).toBe(4);
      for (const etag of seen.slice(0, -1)) expect(await adjust(etag)).toMatchObject(mismatch);
      expect((await adjust(seen.at(-1)!)).status).toBe(201);
    });

    it('is not that of the product, nor the other way round', async () => {
      const [ofStock, ofProduct] = [await etagOf(`${product}/stock`), await etagOf(product)];
      expect(await adjust(ofProduct)).toMatchObject(mismatch);
      expect(await adjust(ofStock.replace('.stock', ''))).toMatchObject(mismatch);
      const patch = (etag: string) => shop.admin.patch(product, { name: 'Renamed' }, ifMatch(etag));
      expect(await patch(ofStock)).toMatchObject(mismatch);
      expect(await patch(ofProduct.replace(/\+.*$/, '.stock"'))).toMatchObject(mismatch);
      expect((await patch(ofProduct)).status).toBe(200);
      expect(await etagOf(`${product}/stock`)).toBe(ofStock);
    });
  });

  it('of an order differs before and after the money is given back, although the order is the same', async () => {
    const placed = await order(ada, { paymentMethod: 'sandbox_slow' });
    const path = `/v1/orders/${placed.body['id']}`;
    await happened(shop, placed, 'payment.requested');
    await ada.post(`${path}/cancel`);
    const voided = await eventually(async () => {
      const answer = await ada.get(path);
      return answer.body['status'] === 'cancelled' ? answer : undefined;
    });
    expect(voided.body).toMatchObject({ paymentStatus: 'voided' });
    await after(shop, placed, 'payment.refunded');
    const refunded = await ada.get(path);
    expect(refunded.body).toMatchObject({ paymentStatus: 'refunded', version: voided.body['version'] });
    const [before, now] = [voided, refunded].map(({ headers }) => headers.get('etag')!);
    expect(now).not.toBe(before);
    expect(await ada.post(`${path}/cancel`, {}, ifMatch(before!))).toMatchObject(mismatch);
    expect((await ada.post(`${path}/cancel`, {}, ifMatch(now!))).status).toBe(202);
  });

  it('of an order under way is taken by its operations', async () => {
    const placed = await order(ada, {}, waiting);
    const path = `/v1/orders/${placed.body['id']}`;
    const etag = await etagOf(path, ada);
    expect(etag).toBe(placed.headers.get('etag'));
    const weak = await ada.post(`${path}/cancel`, {}, ifMatch(`W/${etag}`));
    expect(weak).toMatchObject(mismatch);
    expect((await ada.post(`${path}/cancel`, {}, ifMatch(etag))).status).toBe(202);
    expect(await ada.post(`${path}/cancel`, {}, ifMatch(etag))).toMatchObject(mismatch);
    await shop.settled();
  });
});
