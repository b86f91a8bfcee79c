import { DomainError } from '../../src/kernel/domain-error';
import { SandboxCarrier } from '../../src/modules/shipping/carrier';
import { eventually } from '../kernel/support';
import type { Answer, Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import {
  accountsOf,
  after,
  expectBooksInOrder,
  fullStory,
  happened,
  moneyOf,
  order,
  ordersOf,
  query,
  type Row,
  story,
  tea,
  waiting,
  whilePaused,
} from './shop';

jest.setTimeout(120_000);

/** Pairs that race, of each kind. */
const pairs = 40;

describe('cancelling an order and shipping it', () => {
  let shop: TestApp;
  let ada: Api;

  beforeAll(async () => {
    shop = await startApp();
    ada = await shop.customer();
  });
  afterAll(() => shop.close());

  const cancel = (placed: Answer, api = ada) => api.post(`/v1/orders/${placed.body['id']}/cancel`);
  const dispatch = (placed: Answer, body: object = {}) =>
    shop.admin.post(`/v1/shipments/${placed.body['shipmentId']}/dispatch`, body);
  const deliver = (placed: Answer) => shop.admin.post(`/v1/shipments/${placed.body['shipmentId']}/deliver`);
  const shipmentOf = async (placed: Answer) =>
    (await shop.admin.get(`/v1/shipments/${placed.body['shipmentId']}`)).body['status'] as string;
  const sagaOf = async (placed: Answer) => {
    const [saga] = await query(shop, 'select status from sagas.instances where subject = $1', [placed.body['id']]);
    return saga!['status'];
  };
  const money = (placed: Answer) => moneyOf(shop, placed.body['id'] as string);

  /** Runs it while no saga goes on. */
  async function withSagasPaused(work: () => Promise<void>): Promise<void> {
    const sagas = '/v1/operations/subscriptions/sagas.run';
    await shop.admin.post(`${sagas}/pause`);
    try {
      await eventually(async () => {
        const [row] = await query(shop, `select owner from subscriptions.checkpoints where name = 'sagas.run'`);
        return row!['owner'] === null;
      });
      await work();
    } finally {
      await shop.admin.post(`${sagas}/resume`);
    }
    await shop.settled();
  }

  it('shows a cancellation that was accepted, and the parcel does not leave any more', async () => {
    const placed = await order(ada, {}, waiting);
    await withSagasPaused(async () => {
      expect(await cancel(placed)).toMatchObject({ status: 202, body: { status: 'cancelling' } });
      await eventually(async () => (await ordersOf(ada, placed))['status'] === 'cancelling');
      expect(await ordersOf(ada, placed)).toMatchObject({
        status: 'cancelling',
        cancellation: { reason: 'cancelled on request' },
        allowedActions: [],
      });
      const listed = await ada.all('/v1/orders?status=cancelling');
      expect(listed.map(({ id }) => id as string)).toEqual([placed.body['id']]);
      expect((await story(shop, placed)).at(-1)).toBe('order.cancellation-requested');

      expect(await dispatch(placed)).toMatchObject({
        status: 409,
        body: {
          code: 'order-cancelling',
          detail: expect.stringContaining('its parcel must not leave. If the carrier has it already'),
        },
      });
      expect(await cancel(placed)).toMatchObject({ status: 202, body: { status: 'cancelling' } });
    });
    expect(await ordersOf(ada, placed)).toMatchObject({ status: 'cancelled', paymentStatus: 'refunded' });
    expect(await shipmentOf(placed)).toBe('cancelled');
    expect(await dispatch(placed)).toMatchObject({ status: 409, body: { code: 'shipment-cancelled' } });
    expect(await dispatch(placed, { hasLeft: true })).toMatchObject({ status: 409 });
  });

  it('rejects the cancellation when the carrier says that the parcel has left', async () => {
    const placed = await order(ada, {}, waiting);
    await withSagasPaused(async () => {
      await cancel(placed);
      expect(await dispatch(placed, { hasLeft: true })).toMatchObject({ status: 200, body: { status: 'dispatched' } });
    });
    expect(await ordersOf(ada, placed)).toMatchObject({ status: 'shipped', paymentStatus: 'paid', cancellation: null });
    expect((await story(shop, placed)).slice(-5)).toEqual([
      'order.cancellation-requested',
      'shipment.dispatched',
      'order.cancellation-rejected',
      'order.shipped',
      'stock.committed',
    ]);
    expect(await sagaOf(placed)).toBe('completed');
    expect(await fullStory(shop, placed.body['id'] as string)).toContain('saga.resolved');

    expect(await deliver(placed)).toMatchObject({ status: 200 });
    await after(shop, placed, 'order.completed');
    expect(await ordersOf(ada, placed)).toMatchObject({ status: 'completed', paymentStatus: 'paid' });
  });

  describe('while the carrier', () => {
    afterEach(() => jest.restoreAllMocks());
    const carrierAnswers = (error: Error) => jest.spyOn(SandboxCarrier.prototype, 'cancel').mockRejectedValue(error);
    const reaches = (placed: Answer, status: string) => eventually(async () => (await sagaOf(placed)) === status);

    it('cannot be told of the cancellation, the parcel may leave, and that comes first', async () => {
      const placed = await order(ada, {}, waiting);
      const call = carrierAnswers(new Error('503'));
      await cancel(placed);
      await eventually(async () => Promise.resolve(call.mock.calls.length > 0));
      expect(await dispatch(placed, { hasLeft: true })).toMatchObject({ status: 200 });
      jest.restoreAllMocks();
      await shop.settled();
      expect(await ordersOf(ada, placed)).toMatchObject({ status: 'shipped', paymentStatus: 'paid' });
      expect(await money(placed)).toMatchObject({ keptMinor: 2500 });
    });

    it('refuses to give it back, an operator may reject the cancellation, and nothing was taken back', async () => {
      const placed = await order(ada, {}, waiting);
      carrierAnswers(new DomainError('conflict', 'parcel-collected', 'The carrier has it.'));
      await cancel(placed);
      await reaches(placed, 'parked');
      const [saga] = await query(shop, 'select id from sagas.instances where subject = $1', [placed.body['id']]);
      const reason = { reason: 'the carrier has it' };
      const rejected = await shop.admin.post(`/v1/operations/sagas/${saga!['id']}/reject-cancellation`, reason);
      expect(rejected).toMatchObject({ status: 200 });
      await shop.settled();
      expect(await ordersOf(ada, placed)).toMatchObject({ status: 'fulfilling', fulfilmentStatus: 'created' });
      expect(await dispatch(placed)).toMatchObject({ status: 200 });
      await shop.settled();
      expect(await ordersOf(ada, placed)).toMatchObject({ status: 'shipped', paymentStatus: 'paid' });
    });
  });

  it('shows that the parcel of a free order is booked, whatever of the order is still on its way', async () => {
    const free = { lines: [{ productId: tea, quantity: 1, unitPrice: { amountMinor: 0, currency: 'EUR' } }] };
    let placed!: Answer;
    await whilePaused(shop, 'orders.progress', async () => {
      placed = await order(shop.admin, free);
      await happened(shop, placed, 'shipment.created');
    });
    await shop.settled();
    const now = await ordersOf(shop.admin, placed);
    expect(now).toMatchObject({ status: 'fulfilling', fulfilmentStatus: 'created' });
  });

  it('answers with the ETag that the order has, also while its view is late', async () => {
    const placed = await order(ada, {}, waiting);
    await shop.settled();
    await whilePaused(shop, 'sagas.run', async () => {
      let answered!: Answer;
      await whilePaused(shop, 'orders.order-details', async () => {
        answered = await cancel(placed);
      });
      const shown = await eventually(async () => {
        const answer = await ada.get(`/v1/orders/${placed.body['id']}`);
        return answer.body['status'] === 'cancelling' ? answer : undefined;
      });
      expect(answered.headers.get('etag')).toBe(shown.headers.get('etag'));
    });
    await shop.settled();
  });

  it('tells the customer that the parcel has left', async () => {
    const placed = await order(ada, {}, waiting);
    expect(await dispatch(placed)).toMatchObject({ status: 200 });
    expect(await cancel(placed)).toMatchObject({ status: 409, body: { code: 'order-shipped', allowedActions: [] } });
  });

  it('dispatches at once, whatever of the order is still on its way', async () => {
    const progress = '/v1/operations/subscriptions/orders.progress';
    const placed = await order(ada);
    await happened(shop, placed, 'order.paid');
    await shop.admin.post(`${progress}/pause`);
    await happened(shop, placed, 'shipment.created');
    const [shipment] = await shop.admin.all(`/v1/shipments?orderId=${placed.body['id']}`);
    const left = { ...placed, body: { ...placed.body, shipmentId: shipment!['id'] } };
    expect(await dispatch(left)).toMatchObject({ status: 200 });
    await shop.admin.post(`${progress}/resume`);
    await shop.settled();
    expect(await ordersOf(ada, placed)).toMatchObject({ status: 'shipped', shipmentId: shipment!['id'] });
    expect((await story(shop, placed)).filter((type) => type === 'order.fulfilling')).toHaveLength(1);
  });

  describe('in races', () => {
    let buyers: Api[];
    beforeAll(async () => {
      buyers = await accountsOf(shop, pairs);
    });
    const orders = (change: object = {}, headers = waiting as Record<string, string>) =>
      Promise.all(buyers.map(async (buyer) => ({ buyer, placed: await order(buyer, change, headers) })));
    /** Both at the same time, in either order, a few milliseconds apart. */
    const race = <A, B>(nth: number, first: () => Promise<A>, second: () => Promise<B>): Promise<[A, B]> => {
      const late = <T>(work: () => Promise<T>) =>
        new Promise<T>((resolve, reject) => {
          setTimeout(() => void work().then(resolve, reject), nth % 7);
        });
      return nth % 2 ? Promise.all([first(), late(second)]) : Promise.all([late(first), second()]);
    };

    it('lets one of the two have it, and tells the other', async () => {
      const won = { cancelled: 0, shipped: 0 };
      const placed = await orders();
      const answers = await Promise.all(
        placed.map(async ({ buyer, placed }, nth) => {
          const both = await race(
            nth,
            () => cancel(placed, buyer),
            () => dispatch(placed),
          );
          return { buyer, placed, both };
        }),
      );
      await shop.settled();
      for (const { buyer, placed, both } of answers) {
        const [cancelled, dispatched] = both;
        const { status, fulfilmentStatus, paymentStatus } = await ordersOf(buyer, placed);
        const now = { status, fulfilmentStatus, paymentStatus, ...(await money(placed)) };
        if (cancelled.status === 202) {
          won.cancelled++;
          expect(dispatched).toMatchObject({ status: 409 });
          expect(now).toMatchObject({ status: 'cancelled', fulfilmentStatus: 'cancelled', keptMinor: 0 });
        } else {
          won.shipped++;
          expect(cancelled).toMatchObject({ status: 409, body: { code: 'order-shipped' } });
          expect(dispatched).toMatchObject({ status: 200 });
          expect(now).toMatchObject({ status: 'shipped', fulfilmentStatus: 'dispatched', keptMinor: 2500 });
        }
      }
      expect(won.cancelled).toBeGreaterThan(0);
      expect(won.shipped).toBeGreaterThan(0);
    });

    it('keeps no money of an order that is cancelled while it is being paid', async () => {
      const paying = await orders({}, {});
      await Promise.all(
        paying.map(async ({ buyer, placed }, nth) => {
          await happened(shop, placed, nth % 2 ? 'payment.requested' : 'payment.attempted');
          expect(await cancel(placed, buyer)).toMatchObject({ status: 202 });
        }),
      );
      await shop.settled();
      for (const { buyer, placed } of paying) {
        expect(await ordersOf(buyer, placed)).toMatchObject({ status: 'cancelled' });
        expect(await money(placed)).toMatchObject({ keptMinor: 0 });
      }
    });

    it('submits an order with every change that was accepted, and none that was refused', async () => {
      const drafts = await orders({ submit: false }, {});
      await Promise.all(
        drafts.map(async ({ buyer, placed }, nth) => {
          const path = `/v1/orders/${placed.body['id']}`;
          const [{ lineId }] = placed.body['lines'] as [Row];
          const [changed, submitted] = await race(
            nth,
            () => buyer.patch(`${path}/lines/${lineId}`, { quantity: 3 }),
            () => buyer.post(`${path}/submit`, {}),
          );
          expect(submitted.status).toBe(202);
          expect([200, 409]).toContain(changed.status);
          await happened(shop, placed, 'order.submitted');
          const [event] = await query(
            shop,
            `select payload ->> 'totalMinor' as total from event_store.events
             where aggregate_id = $1 and event_type = 'order.submitted'`,
            [placed.body['id']],
          );
          const quantity = changed.status === 200 ? 3 : 2;
          expect(Number(event!['total'])).toBe(quantity * 1250);
          expect((await ordersOf(buyer, placed))['lines']).toMatchObject([{ quantity }]);
        }),
      );
      await shop.settled();
    });
  });

  it('voids at the provider what may have been taken, and gives it back', async () => {
    const placed = await order(ada, { paymentMethod: 'sandbox_timeout' });
    await happened(shop, placed, 'payment.attempted');
    expect(await cancel(placed)).toMatchObject({ status: 202 });
    await after(shop, placed, 'order.cancelled');
    await shop.settled();
    expect(await money(placed)).toMatchObject({ keptMinor: 0 });
    const payment = (await shop.admin.all(`/v1/payments?orderId=${placed.body['id']}`))[0]!;
    expect(['voided', 'refunded']).toContain(payment['status']);
  });

  it('leaves the books in order', () => expectBooksInOrder(shop));
});
