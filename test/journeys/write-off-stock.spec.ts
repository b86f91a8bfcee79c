import { randomUUID } from 'node:crypto';
import { DomainError } from '../../src/kernel/domain-error';
import { Catalogue } from '../../src/modules/products/catalogue';
import type { Answer, Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import {
  after,
  anOrder,
  expectBooksInOrder,
  happened,
  moneyOf,
  order,
  ordersOf,
  query,
  type Row,
  story,
  waiting,
  whilePaused,
} from './shop';

describe('goods that break while they are reserved', () => {
  let shop: TestApp;
  let ada: Api;
  let productId: string;

  beforeAll(async () => {
    shop = await startApp();
    ada = await shop.customer();
  });
  beforeEach(() => makeProduct());
  afterEach(() => jest.restoreAllMocks());
  afterAll(() => shop.close());

  async function makeProduct(): Promise<void> {
    const made = { sku: `B-${randomUUID()}`, name: 'A vase', price: { amountMinor: 1000, currency: 'EUR' } };
    productId = (await shop.admin.post('/v1/products', made)).body['id'] as string;
  }

  const adjust = (delta: number, takeFromOrders?: string[], headers?: Record<string, string>): Promise<Answer> =>
    shop.admin.post(
      `/v1/products/${productId}/stock-adjustments`,
      { delta, reason: 'it fell off the shelf', takeFromOrders },
      headers,
    );
  const stock = async () => {
    const { onHand, reserved, withdrawn, available } = (await shop.admin.get(`/v1/products/${productId}/stock`)).body;
    return { onHand, reserved, withdrawn, available } as Row;
  };
  const place = (quantity = 1) => order(ada, { lines: [{ productId, quantity }] }, waiting);
  const idsOf = (placed: readonly Answer[]) => placed.map(({ body }) => body['id'] as string);
  const movements = async () =>
    (await shop.admin.all(`/v1/products/${productId}/stock-movements`)).map(
      (row) => `${row['kind']} ${row['onHandDelta']} ${row['reservedDelta']}`,
    );
  const broken = { status: 'cancelled', cancellation: { reason: 'it fell off the shelf' } };

  it('are not written off silently: the refusal names the orders that hold them', async () => {
    await adjust(3);
    const placed = [await place(), await place(2)];
    const refused = await adjust(-1);
    expect(refused).toMatchObject({
      status: 409,
      body: {
        code: 'stock-reserved',
        orderCount: 2,
        orders: [
          { orderId: placed[1]!.body['id'], quantity: 2 },
          { orderId: placed[0]!.body['id'], quantity: 1 },
        ],
      },
    });
    expect(refused.body['detail']).toContain('takeFromOrders');
    expect(await stock()).toEqual({ onHand: 3, reserved: 3, withdrawn: 0, available: 0 });
    expect(await ordersOf(ada, placed[0]!)).toMatchObject({ status: 'fulfilling' });
  });

  it('are named with the orders that hold them, of many the last 20 and how many there are', async () => {
    await adjust(23);
    await Promise.all(Array.from({ length: 23 }, () => place()));
    const { body } = await adjust(-1);
    expect(body['orders']).toHaveLength(20);
    expect(body).toMatchObject({ orderCount: 23 });
  });

  it('can be taken from an order, which is undone like any other', async () => {
    await adjust(3);
    const placed = [await place(), await place(), await place()];
    expect(await adjust(-1, [placed[1]!.body['id'] as string])).toMatchObject({ status: 201 });
    await shop.settled();
    const [kept, lost, other] = await Promise.all(placed.map((each) => ordersOf(ada, each)));
    expect(lost).toMatchObject({ ...broken, paymentStatus: 'refunded', fulfilmentStatus: 'cancelled' });
    expect([kept, other]).toMatchObject([{ status: 'fulfilling' }, { status: 'fulfilling' }]);
    expect(await moneyOf(shop, placed[1]!.body['id'] as string)).toEqual({ charges: 1, keptMinor: 0 });
    expect(await stock()).toEqual({ onHand: 2, reserved: 2, withdrawn: 0, available: 0 });
    expect((await movements()).slice(0, 2).sort()).toEqual(['adjusted -1 0', 'released 0 -1']);
    expect(await story(shop, placed[1]!)).toContain('stock.withdrawn');
    const [event] = await query(
      shop,
      `select payload from event_store.events where event_type = 'stock.adjusted' and aggregate_id = $1
       order by position desc limit 1`,
      [productId],
    );
    expect(event!['payload']).toMatchObject({ delta: -1, onHand: 2, reason: 'it fell off the shelf' });
  });

  it('are taken off the shelf first, and from no more orders than it takes', async () => {
    await adjust(6);
    const placed = [await place(2), await place(), await place()];
    expect(await adjust(-4, idsOf(placed))).toMatchObject({ status: 201, body: { onHand: 4, withdrawn: 2 } });
    await shop.settled();
    const statuses = (await Promise.all(placed.map((each) => ordersOf(ada, each)))).map(
      ({ status }) => status as string,
    );
    expect(statuses).toEqual(['cancelled', 'fulfilling', 'fulfilling']);
    expect(await stock()).toEqual({ onHand: 2, reserved: 2, withdrawn: 0, available: 0 });
  });

  it('leave what the order held besides for others', async () => {
    await adjust(3);
    const placed = await place(3);
    expect((await adjust(-1, idsOf([placed]))).status).toBe(201);
    await shop.settled();
    expect(await ordersOf(ada, placed)).toMatchObject(broken);
    expect(await stock()).toEqual({ onHand: 2, reserved: 0, withdrawn: 0, available: 2 });
  });

  it('cannot be taken from orders that do not hold so many', async () => {
    await adjust(3);
    const [one] = [await place(), await place(2)];
    const refused = await adjust(-2, [one.body['id'] as string, randomUUID()]);
    expect(refused).toMatchObject({ status: 409, body: { code: 'stock-reserved', orderCount: 2 } });
    expect(await adjust(-4, [one.body['id'] as string])).toMatchObject({
      status: 409,
      body: { code: 'stock-too-small' },
    });
    expect(await adjust(1, [one.body['id'] as string])).toMatchObject({
      status: 422,
      body: { code: 'nothing-to-take' },
    });
    await shop.settled();
    expect(await ordersOf(ada, one)).toMatchObject({ status: 'fulfilling' });
    expect(await stock()).toEqual({ onHand: 3, reserved: 3, withdrawn: 0, available: 0 });
  });

  it('are written off once, however often that is asked for', async () => {
    await adjust(2);
    const placed = [await place(), await place()];
    const key = { 'idempotency-key': randomUUID() };
    const missing = new DomainError('not-found', 'missing', 'It is not there.');
    jest.spyOn(Catalogue.prototype, 'get').mockRejectedValueOnce(missing);
    expect((await adjust(-1, idsOf(placed), key)).status).toBe(503);
    expect((await adjust(-1, idsOf(placed), key)).status).toBe(201);
    await shop.settled();
    expect(await stock()).toEqual({ onHand: 1, reserved: 1, withdrawn: 0, available: 0 });
    expect(await ordersOf(ada, placed[1]!)).toMatchObject({ status: 'fulfilling' });
  });

  it('cannot be ordered, nor written off again, before the order is undone', async () => {
    await adjust(1);
    const placed = await place();
    await whilePaused(shop, 'orders.cancel-withdrawn', async () => {
      const taken = await adjust(-1, idsOf([placed]));
      expect(taken).toMatchObject({ status: 201, body: { onHand: 1, reserved: 1, withdrawn: 1, available: 0 } });
      expect(await shop.admin.post('/v1/orders', { lines: [{ productId, quantity: 1 }] })).toMatchObject({
        status: 409,
      });
      expect(await adjust(-1, idsOf([placed]))).toMatchObject({ status: 409, body: { orderCount: 0 } });
    });
    await shop.settled();
    expect(await ordersOf(ada, placed)).toMatchObject(broken);
    expect(await stock()).toEqual({ onHand: 0, reserved: 0, withdrawn: 0, available: 0 });
  });

  it('are not taken from an order that has left, even if the books do not know yet', async () => {
    await adjust(3);
    const placed = [await place(), await place(2)];
    await whilePaused(shop, 'products.commit-dispatched', async () => {
      await shop.admin.post(`/v1/shipments/${placed[0]!.body['shipmentId']}/dispatch`);
      await happened(shop, placed[0]!, 'order.shipped');
      expect(await adjust(-1, idsOf(placed.slice(0, 1)))).toMatchObject({ status: 201, body: { withdrawn: 1 } });
    });
    await after(shop, placed[0]!, 'stock.committed');
    await shop.settled();
    expect(await ordersOf(ada, placed[0]!)).toMatchObject({ status: 'shipped', paymentStatus: 'paid' });
    expect(await stock()).toEqual({ onHand: 2, reserved: 2, withdrawn: 0, available: 0 });
    expect((await movements())[0]).toBe('committed -1 -1');
    expect((await story(shop, placed[0]!)).slice(-2)).toEqual(['stock.committed', 'stock.withdrawal-lapsed']);
  });

  it('leave the stock once, when the carrier takes them at the same moment', async () => {
    for (let round = 0; round < 9; round++) {
      await adjust(1);
      const placed = await place();
      const writeOff = adjust(-1, idsOf([placed]));
      if (round % 3 === 1) await writeOff;
      if (round % 3 === 2) await happened(shop, placed, 'order.cancellation-requested');
      const dispatched = await shop.admin.post(`/v1/shipments/${placed.body['shipmentId']}/dispatch`);
      expect([200, 409]).toContain(dispatched.status);
      expect([201, 409]).toContain((await writeOff).status);
      await shop.settled();
      expect(await stock()).toEqual({ onHand: 0, reserved: 0, withdrawn: 0, available: 0 });
    }
  });

  it('are counted right when their order is cancelled at the same moment, and another one wants them', async () => {
    for (let round = 0; round < 9; round++) {
      await makeProduct();
      await adjust(1);
      const placed = await place();
      const cancel = () => ada.post(`/v1/orders/${placed.body['id']}/cancel`);
      const writeOff = adjust(-1, idsOf([placed]));
      if (round % 3 === 1) await writeOff;
      if (round % 3 === 2) await happened(shop, placed, 'stock.withdrawn');
      const [rival] = await Promise.all([
        ada.post('/v1/orders', anOrder({ lines: [{ productId, quantity: 1 }] })),
        cancel(),
      ]);
      const { status } = await writeOff;
      await shop.settled();
      expect(await ordersOf(ada, placed)).toMatchObject({ status: 'cancelled' });
      const hasIt = rival.status === 202 && (await ordersOf(ada, rival))['status'] === 'fulfilling';
      expect([status, hasIt]).not.toEqual([201, true]);
      const left = status === 201 ? 0 : 1;
      expect(await stock()).toMatchObject({ onHand: left, withdrawn: 0, available: left - (hasIt ? 1 : 0) });
    }
  });

  it('leave the books in order, and nothing that could not be handled', async () => {
    await expectBooksInOrder(shop);
    expect(await shop.admin.all('/v1/operations/dead-letters')).toEqual([]);
  });
});
