import type { Answer, Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import {
  accountsOf,
  address,
  anOrder,
  cups,
  expectBooksInOrder,
  idOf,
  moneyOf,
  order,
  ordersOf,
  query,
  stockOf,
  story,
  tea,
  tin,
  waiting,
  type Row,
} from './shop';

describe('placing an order', () => {
  let shop: TestApp;
  let ada: Api;

  beforeAll(async () => {
    shop = await startApp();
    ada = await shop.customer();
  });
  afterAll(() => shop.close());

  it('is answered at once, and tells where to look', async () => {
    const answer = await order(ada);
    expect(answer.status).toBe(202);
    expect(answer.headers.get('location')).toBe(`/v1/orders/${answer.body['id']}`);
    expect(answer.headers.get('etag')).toMatch(/^"\d+(\.[a-z]+){0,2}\+[\w-]{16}"$/);
    expect(answer.body).toMatchObject({
      customerId: await idOf(ada),
      guest: null,
      total: { amountMinor: 2500, currency: 'EUR' },
      lineCount: 1,
      lines: [{ sku: 'TEA-EG-100', quantity: 2, unitPrice: { amountMinor: 1250, currency: 'EUR' } }],
      shippingAddress: address,
      cancellation: null,
    });
    expect(answer.body['status']).not.toBe('draft');
    await shop.settled();
  });

  it('reserves, charges and books a parcel, in this order', async () => {
    const placed = await order(ada);
    await shop.settled();
    expect(await ordersOf(ada, placed)).toMatchObject({
      status: 'fulfilling',
      paymentStatus: 'paid',
      fulfilmentStatus: 'created',
      trackingNumber: expect.stringMatching(/^SBX\d{15}$/),
      allowedActions: ['cancel'],
    });
    expect(await story(shop, placed)).toEqual([
      'order.created',
      'order.submitted',
      'stock.reserved',
      'order.reserved',
      'payment.requested',
      'payment.attempted',
      'payment.completed',
      'order.paid',
      'shipment.created',
      'order.fulfilling',
    ]);
    expect(await moneyOf(shop, placed.body['id'])).toEqual({ charges: 1, keptMinor: 2500 });
  });

  it('can be waited for', async () => {
    const placed = await order(ada, {}, waiting);
    expect(placed.status).toBe(202);
    expect(placed.headers.get('preference-applied')).toBe('wait=10');
    expect(placed.body).toMatchObject({ status: 'fulfilling', paymentStatus: 'paid' });
  });

  it('can be waited for also when a draft is submitted', async () => {
    const draft = await order(ada, { submit: false });
    expect(draft.status).toBe(201);
    const placed = await ada.post(`/v1/orders/${draft.body['id']}/submit`, {}, waiting);
    expect(placed.status).toBe(202);
    expect(placed.headers.get('location')).toBe(`/v1/orders/${draft.body['id']}`);
    expect(placed.body).toMatchObject({ status: 'fulfilling' });
  });

  it('can be waited for by an id in capitals', async () => {
    const draft = await order(ada, { submit: false });
    const path = `/v1/orders/${(draft.body['id'] as string).toUpperCase()}`;
    const placed = await ada.post(`${path}/submit`, {}, waiting);
    expect(placed.body).toMatchObject({ id: draft.body['id'], status: 'fulfilling' });
    expect((await ada.get(path)).body).toMatchObject({ id: draft.body['id'] });
  });

  it('knows products by ids in capitals', async () => {
    const { body } = await shop.admin.post('/v1/products', {
      sku: 'MUG',
      name: 'Mug',
      price: { amountMinor: 900, currency: 'EUR' },
    });
    await shop.admin.post(`/v1/products/${body['id']}/stock-adjustments`, { delta: 1, reason: 'made' });
    const productId = (body['id'] as string).toUpperCase();
    const placed = await order(ada, { lines: [{ productId, quantity: 1 }] }, waiting);
    expect(placed.body).toMatchObject({ status: 'fulfilling', lines: [{ productId: body['id'] }] });
  });

  it('leaves the draft placed once, however often it is submitted', async () => {
    const draft = await order(ada, { submit: false });
    const path = `/v1/orders/${draft.body['id']}/submit`;
    const answers = await Promise.all(Array.from({ length: 5 }, () => ada.post(path)));
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 202, 202]);
    await shop.settled();
    expect((await story(shop, draft)).filter((type) => type === 'order.submitted')).toHaveLength(1);
    expect(await moneyOf(shop, draft.body['id'])).toMatchObject({ charges: 1 });
  });

  it('keeps the price that it was placed at', async () => {
    const placed = await order(ada, { lines: [{ productId: cups, quantity: 1 }] }, waiting);
    const product = await shop.admin.get(`/v1/products/${cups}`);
    const price = { amountMinor: 2600, currency: 'EUR' };
    const etag = { 'if-match': product.headers.get('etag')! };
    expect((await shop.admin.patch(`/v1/products/${cups}`, { price }, etag)).body).toMatchObject({ price });
    const again = await ada.post(`/v1/orders/${placed.body['id']}/submit`);
    expect(again.body).toMatchObject({ total: { amountMinor: 2400 }, lines: [{ unitPrice: { amountMinor: 2400 } }] });
    expect(await moneyOf(shop, placed.body['id'])).toEqual({ charges: 1, keptMinor: 2400 });
  });

  describe('to the door', () => {
    let placed: Answer;
    let shipment: Row;
    let before: { onHand: number; reserved: number; available: number };

    beforeAll(async () => {
      before = await stockOf(shop, tea);
      placed = await order(
        ada,
        {
          lines: [
            { productId: tea, quantity: 1 },
            { productId: tea, quantity: 2 },
          ],
        },
        waiting,
      );
      const { body } = await shop.admin.get(`/v1/shipments?orderId=${placed.body['id']}`);
      shipment = body['data'][0];
    });

    it('sets the goods aside first', async () => {
      const { onHand, reserved, available } = before;
      expect(await stockOf(shop, tea)).toEqual({ onHand, reserved: reserved + 3, available: available - 3 });
    });

    it('has a parcel with the address and the goods', () => {
      expect(shipment).toMatchObject({
        id: placed.body['shipmentId'],
        status: 'created',
        address,
        trackingNumber: placed.body['trackingNumber'],
      });
      expect(shipment['lines'].map((line: { quantity: number }) => line.quantity)).toEqual([1, 2]);
    });

    it('cannot be delivered before it has left', async () => {
      const { status, body } = await shop.admin.post(`/v1/shipments/${shipment['id']}/deliver`);
      expect({ status, ...body }).toMatchObject({
        status: 409,
        code: 'shipment-created',
        allowedActions: ['dispatch'],
      });
    });

    it('leaves the house, and the stock with it', async () => {
      const dispatched = await shop.admin.post(`/v1/shipments/${shipment['id']}/dispatch`);
      expect(dispatched).toMatchObject({ status: 200, body: { status: 'dispatched' } });
      await shop.settled();
      expect(await ordersOf(ada, placed)).toMatchObject({
        status: 'shipped',
        fulfilmentStatus: 'dispatched',
        allowedActions: [],
      });
      const { onHand, reserved, available } = before;
      expect(await stockOf(shop, tea)).toEqual({ onHand: onHand - 3, reserved, available: available - 3 });
    });

    it('can no longer be cancelled then', async () => {
      const { status, body } = await ada.post(`/v1/orders/${placed.body['id']}/cancel`);
      expect({ status, ...body }).toMatchObject({ status: 409, code: 'order-shipped', allowedActions: [] });
    });

    it('is completed with the delivery', async () => {
      await shop.admin.post(`/v1/shipments/${shipment['id']}/deliver`);
      await shop.settled();
      expect(await ordersOf(ada, placed)).toMatchObject({ status: 'completed', fulfilmentStatus: 'delivered' });
      expect((await story(shop, placed)).slice(-6)).toEqual([
        'shipment.dispatched',
        'order.shipped',
        'stock.committed',
        'shipment.delivered',
        'order.delivered',
        'order.completed',
      ]);
    });

    it('is dispatched also by a client that names a content type and sends no body', async () => {
      const [{ id }] = (await shop.admin.get('/v1/shipments?status=dispatched&limit=1')).body.data.concat(
        (await shop.admin.get('/v1/shipments?status=delivered&limit=1')).body.data,
      );
      const { status } = await fetch(`${shop.url}/v1/shipments/${id}/deliver`, {
        method: 'POST',
        headers: { authorization: `Bearer ${shop.admin.token}`, 'content-type': 'application/json' },
      });
      expect(status).toBe(200);
    });

    it('stays as it is when the carrier repeats itself', async () => {
      const { version } = await ordersOf(ada, placed);
      expect(await shop.admin.post(`/v1/shipments/${shipment['id']}/deliver`)).toMatchObject({ status: 200 });
      const dispatched = await shop.admin.post(`/v1/shipments/${shipment['id']}/dispatch`);
      expect(dispatched).toMatchObject({ status: 409, body: { code: 'shipment-delivered' } });
      await shop.settled();
      expect(await ordersOf(ada, placed)).toMatchObject({ version, status: 'completed' });
    });

    it('has left every movement in the ledger', async () => {
      const rows = await shop.admin.all(`/v1/products/${tea}/stock-movements`);
      const sum = (member: string) => rows.reduce((total, row) => total + (row[member] as number), 0);
      const { onHand, reserved } = await stockOf(shop, tea);
      expect({ onHand: sum('onHandDelta'), reserved: sum('reservedDelta') }).toEqual({ onHand, reserved });
      expect(rows.map((row) => row['kind'] as string)).toEqual(
        expect.arrayContaining(['adjusted', 'reserved', 'committed']),
      );
    });

    it('is told in the order’s own events, as they stand in the log', async () => {
      const events = await ada.all(`/v1/orders/${placed.body['id']}/events`);
      expect(events.map((event) => event['version'] as number)).toEqual(events.map((_, nth) => nth + 1));
      expect(events.map((event) => event['eventType'] as string)).toEqual(
        ['created', 'submitted', 'reserved', 'paid', 'fulfilling', 'shipped', 'delivered', 'completed'].map(
          (type) => `order.${type}`,
        ),
      );
      for (const event of events) {
        expect(event).toMatchObject({ aggregateId: placed.body['id'], aggregateType: 'order' });
        expect(Object.keys(event).sort()).toEqual(
          ['aggregateId', 'aggregateType', 'eventType', 'id', 'payload', 'position', 'timestamp', 'version'].sort(),
        );
      }
      const [page, rest] = [
        await ada.get(`/v1/orders/${placed.body['id']}/events?limit=3`),
        await ada.all(`/v1/orders/${placed.body['id']}/timeline`),
      ];
      expect(page.body).toMatchObject({ data: events.slice(0, 3), page: { hasMore: true } });
      expect(rest.map((entry) => entry['position'] as number)).toEqual(
        rest.map((entry) => entry['position'] as number).sort((a, b) => a - b),
      );
      expect(JSON.stringify(rest)).not.toContain(address.line1);
    });
  });

  it('sells ten of ten to a hundred buyers at once, and not one more', async () => {
    const buyers = await accountsOf(shop, 100);
    const answers = await Promise.all(
      buyers.map((buyer) => buyer.post('/v1/orders', anOrder({ lines: [{ productId: tin, quantity: 1 }] }))),
    );
    for (const { status, body } of answers) {
      expect([202, 409]).toContain(status);
      if (status === 409) expect(body['code']).toBe('unavailable');
    }
    await shop.settled();
    const orders = await shop.admin.all('/v1/orders?currency=EUR&minTotalMinor=9900&maxTotalMinor=9900');
    const sold = orders.filter((each) => each['status'] === 'fulfilling');
    expect(sold).toHaveLength(10);
    for (const each of orders.filter((each) => each['status'] !== 'fulfilling')) {
      expect(each).toMatchObject({
        status: 'cancelled',
        paymentStatus: 'none',
        cancellation: { step: 'reserveInventory', code: 'out-of-stock' },
      });
    }
    expect(await stockOf(shop, tin)).toEqual({ onHand: 10, reserved: 10, available: 0 });
    const lost = await query(shop, `select min(on_hand - reserved) as least from products.products`);
    expect(lost).toEqual([{ least: 0 }]);
  });

  it('leaves the books in order', () => expectBooksInOrder(shop));
});
