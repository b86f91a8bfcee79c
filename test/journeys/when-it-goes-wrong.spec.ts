import { CommandBus } from '@nestjs/cqrs';
import { RefundPayment } from '../../src/modules/payments/contracts/process-payment';
import type { Answer, Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import {
  address,
  after,
  expectBooksInOrder,
  fullStory,
  happened,
  moneyOf,
  order,
  ordersOf,
  query,
  stockOf,
  story,
  tea,
  teapot,
  waiting,
  whilePaused,
} from './shop';

describe('when it goes wrong', () => {
  let shop: TestApp;
  let ada: Api;
  /** Takes its time, so it is placed first of all and looked at last. */
  let troubled: Record<'sandbox_flaky' | 'sandbox_slow' | 'sandbox_timeout', Answer>;

  beforeAll(async () => {
    shop = await startApp();
    ada = await shop.customer();
    const [flaky, slow, timeout] = await Promise.all(
      ['sandbox_flaky', 'sandbox_slow', 'sandbox_timeout'].map((paymentMethod) => order(ada, { paymentMethod })),
    );
    troubled = { sandbox_flaky: flaky!, sandbox_slow: slow!, sandbox_timeout: timeout! };
  });
  afterAll(() => shop.close());

  const compensations = async ({ body }: Answer) => {
    const id = body['id'] as string;
    const entries = await shop.admin.all(`/v1/orders/${id}/timeline`);
    return entries.filter(({ type }) => type === 'saga.compensation-completed').map(({ data }) => data.step as string);
  };

  describe('the card is declined', () => {
    let declined: Answer;
    let before: Awaited<ReturnType<typeof stockOf>>;

    beforeAll(async () => {
      before = await stockOf(shop, teapot);
      const lines = [{ productId: teapot, quantity: 1 }];
      declined = await order(ada, { lines, paymentMethod: 'sandbox_declined' }, waiting);
      await after(shop, declined, 'stock.released');
    });

    it('cancels the order, and says at which step and why', async () => {
      expect(declined).toMatchObject({
        status: 202,
        body: {
          status: 'cancelled',
          paymentStatus: 'failed',
          fulfilmentStatus: 'cancelled',
          cancellation: { reason: 'The card was declined.', step: 'processPayment', code: 'card_declined' },
          allowedActions: [],
        },
      });
      const [last] = (await ada.all(`/v1/orders/${declined.body['id']}/events`)).slice(-1);
      expect(last).toMatchObject({
        eventType: 'order.cancelled',
        payload: { step: 'processPayment', code: 'card_declined' },
      });
    });

    it('goes the way that the events’ names tell', async () => {
      expect(await story(shop, declined)).toEqual([
        'order.created',
        'order.submitted',
        'stock.reserved',
        'order.reserved',
        'payment.requested',
        'payment.attempted',
        'payment.failed',
        'stock.released',
        'order.cancelled',
      ]);
      expect((await fullStory(shop, declined.body['id'])).filter((type) => type.startsWith('saga.'))).toEqual([
        'saga.started',
        'saga.step-started',
        'saga.step-completed',
        'saga.step-started',
        'saga.step-failed',
        'saga.compensation-started',
        'saga.compensation-completed',
        'saga.compensated',
      ]);
    });

    it('puts the goods back', async () => {
      expect(await stockOf(shop, teapot)).toEqual(before);
    });

    it('takes no money', async () => {
      expect(await moneyOf(shop, declined.body['id'])).toEqual({ charges: 0, keptMinor: 0 });
      const { body } = await shop.admin.get(`/v1/payments?orderId=${declined.body['id']}`);
      expect(body['data']).toMatchObject([{ status: 'failed', failure: { code: 'card_declined' } }]);
    });

    it('leaves a saga that tells the same', async () => {
      const sagas = await shop.admin.all('/v1/operations/sagas?status=compensated');
      expect(sagas.find(({ subject }) => subject === declined.body['id'])).toMatchObject({
        definition: 'order-fulfilment',
        step: 'processPayment',
        error: { code: 'card_declined' },
        dueAt: null,
      });
    });

    it.each([
      ['sandbox_insufficient_funds', 'card_insufficient_funds'],
      ['monopoly_money', 'invalid_payment_method'],
    ])('does so for %s too', async (paymentMethod, code) => {
      const refused = await order(ada, { paymentMethod }, waiting);
      expect(refused.body).toMatchObject({ status: 'cancelled', cancellation: { step: 'processPayment', code } });
    });
  });

  describe('the carrier refuses', () => {
    let refused: Answer;
    let before: Awaited<ReturnType<typeof stockOf>>;

    beforeAll(async () => {
      before = await stockOf(shop, teapot);
      const shippingAddress = { ...address, countryCode: 'AQ' };
      refused = await order(ada, { lines: [{ productId: teapot, quantity: 2 }], shippingAddress }, waiting);
      await after(shop, refused, 'stock.released');
    });

    it('cancels the order', () => {
      expect(refused.body).toMatchObject({
        status: 'cancelled',
        paymentStatus: 'refunded',
        fulfilmentStatus: 'cancelled',
        cancellation: { step: 'createShipment', code: 'shipment-refused' },
      });
    });

    it('takes back what was done, last things first', async () => {
      expect(await story(shop, refused)).toEqual([
        'order.created',
        'order.submitted',
        'stock.reserved',
        'order.reserved',
        'payment.requested',
        'payment.attempted',
        'payment.completed',
        'order.paid',
        'payment.refunded',
        'stock.released',
        'order.cancelled',
      ]);
      expect(await compensations(refused)).toEqual(['processPayment', 'reserveInventory']);
    });

    it('gives money and goods back, once', async () => {
      expect(await moneyOf(shop, refused.body['id'])).toEqual({ charges: 1, keptMinor: 0 });
      const { body } = await shop.admin.get(`/v1/payments?orderId=${refused.body['id']}`);
      expect(body['data']).toMatchObject([
        { status: 'refunded', amount: { amountMinor: 11800 }, refunded: { amountMinor: 11800 } },
      ]);
      expect(await stockOf(shop, teapot)).toEqual(before);
    });
  });

  it('goods that ran out between the look and the reservation go to who was first', async () => {
    const { body } = await shop.admin.post('/v1/products', {
      sku: 'LAST',
      name: 'The last one',
      price: { amountMinor: 100, currency: 'EUR' },
    });
    await shop.admin.post(`/v1/products/${body['id']}/stock-adjustments`, { delta: 1, reason: 'found' });
    const lines = [{ productId: body['id'] as string, quantity: 1 }];
    const drafts = [await order(ada, { lines, submit: false }), await order(ada, { lines, submit: false })];
    await whilePaused(shop, 'sagas.run', async () => {
      for (const draft of drafts) expect((await ada.post(`/v1/orders/${draft.body['id']}/submit`)).status).toBe(202);
    });
    await shop.settled();
    const results = await Promise.all(drafts.map((draft) => ada.get(`/v1/orders/${draft.body['id']}`)));
    const won = results.filter((each) => each.body['status'] === 'fulfilling');
    const lost = results.filter((each) => each.body['status'] === 'cancelled');
    expect([won.length, lost.length]).toEqual([1, 1]);
    expect(lost[0]!.body).toMatchObject({
      paymentStatus: 'none',
      fulfilmentStatus: 'none',
      cancellation: { step: 'reserveInventory', code: 'out-of-stock' },
    });
    expect(await story(shop, lost[0]!)).toEqual(['order.created', 'order.submitted', 'order.cancelled']);
  });

  it('one product short leaves the others of the order untouched', async () => {
    const before = await stockOf(shop, tea);
    const short = await stockOf(shop, teapot);
    const lines = [
      { productId: tea, quantity: 1 },
      { productId: teapot, quantity: short.available },
    ];
    const placed = await whilePaused(shop, 'sagas.run', async () => {
      const answer = await order(ada, { lines });
      await shop.admin.post(`/v1/products/${teapot}/stock-adjustments`, { delta: -1, reason: 'broken' });
      return answer;
    });
    await shop.settled();
    expect(await ordersOf(ada, placed)).toMatchObject({
      status: 'cancelled',
      cancellation: { step: 'reserveInventory' },
    });
    expect(await stockOf(shop, tea)).toEqual(before);
  });

  describe('the customer thinks better of it', () => {
    const cancel = (placed: Answer, body: object = { reason: 'changed my mind' }) =>
      ada.post(`/v1/orders/${placed.body['id']}/cancel`, body);

    it('as long as it is a draft: then that was it', async () => {
      const draft = await order(ada, { submit: false });
      const cancelled = await cancel(draft);
      expect(cancelled).toMatchObject({
        status: 202,
        body: { status: 'cancelled', cancellation: { reason: 'changed my mind' }, allowedActions: [] },
      });
      expect(cancelled.headers.get('location')).toBe(`/v1/orders/${draft.body['id']}`);
      const submit = await ada.post(`/v1/orders/${draft.body['id']}/submit`);
      expect(submit).toMatchObject({ status: 409, body: { code: 'order-not-draft', allowedActions: [] } });
      await shop.settled();
      expect(await story(shop, draft)).toEqual(['order.created', 'order.cancelled']);
    });

    it('and says so twice', async () => {
      const draft = await order(ada, { submit: false });
      const first = await cancel(draft);
      const second = await cancel(draft, { reason: 'really' });
      expect(second).toMatchObject({ status: 202, body: { version: first.body['version'] } });
    });

    it('while the money is being taken: then it is given back', async () => {
      const placed = await order(ada, { paymentMethod: 'sandbox_slow' });
      await happened(shop, placed, 'payment.requested');
      const answer = await cancel(placed);
      expect(answer.status).toBe(202);
      await after(shop, placed, 'order.cancelled');
      await shop.settled();
      expect(await ordersOf(ada, placed)).toMatchObject({
        status: 'cancelled',
        paymentStatus: 'refunded',
        cancellation: { reason: 'changed my mind' },
      });
      expect((await ordersOf(ada, placed))['cancellation']).not.toHaveProperty('step');
      expect(await moneyOf(shop, placed.body['id'])).toEqual({ charges: 1, keptMinor: 0 });
      const types = await story(shop, placed);
      expect(types).toEqual(expect.arrayContaining(['payment.voided', 'payment.completed', 'payment.refunded']));
      expect(types.indexOf('payment.voided')).toBeLessThan(types.indexOf('stock.released'));
    });

    it('in the same breath: then nothing is left of it', async () => {
      const before = await stockOf(shop, tea);
      const placed = await Promise.all(Array.from({ length: 10 }, () => order(ada)));
      const answers = await Promise.all(placed.map((each) => cancel(each)));
      expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(202));
      await shop.settled();
      for (const each of placed) {
        expect(await ordersOf(ada, each)).toMatchObject({ status: 'cancelled' });
        expect(await moneyOf(shop, each.body['id'])).toMatchObject({ keptMinor: 0 });
      }
      expect((await stockOf(shop, tea)).available).toBe(before.available);
    });

    it('when the parcel is booked: then it is taken back to front', async () => {
      const before = await stockOf(shop, tea);
      const placed = await order(ada, {}, waiting);
      const answer = await cancel(placed);
      expect(answer.status).toBe(202);
      await after(shop, placed, 'order.cancelled');
      expect((await story(shop, placed)).slice(-5)).toEqual([
        'order.cancellation-requested',
        'shipment.cancelled',
        'payment.refunded',
        'stock.released',
        'order.cancelled',
      ]);
      expect(await compensations(placed)).toEqual(['createShipment', 'processPayment', 'reserveInventory']);
      expect(await ordersOf(ada, placed)).toMatchObject({
        status: 'cancelled',
        paymentStatus: 'refunded',
        fulfilmentStatus: 'cancelled',
      });
      expect(await moneyOf(shop, placed.body['id'])).toEqual({ charges: 1, keptMinor: 0 });
      expect((await stockOf(shop, tea)).available).toBe(before.available);
      const dispatched = await shop.admin.post(`/v1/shipments/${placed.body['shipmentId']}/dispatch`);
      expect(dispatched).toMatchObject({ status: 409, body: { code: 'shipment-cancelled', allowedActions: [] } });
    });

    it('too late', async () => {
      const placed = await order(ada, {}, waiting);
      await shop.admin.post(`/v1/shipments/${placed.body['shipmentId']}/dispatch`);
      await shop.settled();
      const late = { status: 409, body: { code: 'order-shipped', allowedActions: [] } };
      expect(await cancel(placed)).toMatchObject(late);
      await shop.admin.post(`/v1/shipments/${placed.body['shipmentId']}/deliver`);
      await shop.settled();
      expect(await cancel(placed)).toMatchObject(late);
      expect(await ordersOf(ada, placed)).toMatchObject({ status: 'completed', paymentStatus: 'paid' });
    });
  });

  it('money is given back once, however many see to it at the same time', async () => {
    const placed = await order(ada, {}, waiting);
    const orderId = placed.body['id'] as string;
    const commands = shop.app.get(CommandBus, { strict: false });
    await Promise.all(Array.from({ length: 5 }, () => commands.execute(new RefundPayment(orderId))));
    await ada.post(`/v1/orders/${orderId}/cancel`);
    await after(shop, placed, 'order.cancelled');
    expect(await moneyOf(shop, orderId)).toEqual({ charges: 1, keptMinor: 0 });
    expect((await story(shop, placed)).filter((type) => type === 'payment.refunded')).toHaveLength(1);
  });

  describe('the provider has a bad day', () => {
    it.each(['sandbox_flaky', 'sandbox_slow', 'sandbox_timeout'] as const)(
      '%s ends well, and charges once',
      async (method) => {
        const placed = troubled[method];
        await after(shop, placed, 'order.fulfilling');
        expect(await ordersOf(ada, placed)).toMatchObject({ status: 'fulfilling', paymentStatus: 'paid' });
        expect(await moneyOf(shop, placed.body['id'])).toEqual({ charges: 1, keptMinor: 2500 });
        const types = await story(shop, placed);
        expect(types.filter((type) => type === 'payment.completed')).toHaveLength(1);
      },
    );
  });

  it('leaves the books in order', async () => {
    await expectBooksInOrder(shop);
    const twice = await query(
      shop,
      `select charge_key from payments.sandbox_ledger where kind = 'charge' and outcome = 'charged'
       group by charge_key having count(*) > 1
       union all select charge_key from payments.sandbox_ledger where kind = 'refund' group by charge_key having count(*) > 1`,
    );
    expect(twice).toEqual([]);
  });
});
