import { randomUUID } from 'node:crypto';
import { EventStore } from '../../src/kernel/event-store/event-store';
import type { Answer, Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import {
  account,
  after,
  expectBooksInOrder,
  happened,
  hurryBreakers,
  moneyOf,
  order,
  ordersOf,
  query,
  stockOf,
  story,
  tea,
  waiting,
  type Row,
} from './shop';

const operations = '/v1/operations';

describe('being on call', () => {
  let shop: TestApp;
  let ada: Api;
  let staff: Api;

  beforeAll(async () => {
    shop = await startApp({ retry: { attempts: 2, backoffMs: 5 } });
    ada = await shop.customer();
    staff = await account(shop, ['staff']);
    hurryBreakers(shop);
  });
  afterAll(() => shop.close());

  const sagaOf = async ({ body }: Answer) =>
    (await staff.all(`${operations}/sagas`)).find(({ subject }) => subject === body['id'])!;

  describe('one sees', () => {
    let placed: Answer;

    beforeAll(async () => {
      placed = await order(ada, {}, waiting);
    });

    it('each order’s saga', async () => {
      const saga = await sagaOf(placed);
      expect(saga).toMatchObject({
        definition: 'order-fulfilment',
        definitionVersion: 1,
        status: 'completed',
        step: null,
        error: null,
        dueAt: null,
      });
      expect((await staff.get(`${operations}/sagas/${saga['id']}`)).body).toEqual(saga);
      expect((await staff.all(`${operations}/sagas?status=completed`)).map(({ id }) => id as string)).toContain(
        saga['id'],
      );
      expect(await staff.all(`${operations}/sagas?status=parked`)).toEqual([]);
      expect(await staff.get(`${operations}/sagas/${randomUUID()}`)).toMatchObject({
        status: 404,
        body: { code: 'saga-unknown' },
      });
    });

    it('that every subscription keeps up', async () => {
      await shop.settled();
      const subscriptions = (await staff.get(`${operations}/subscriptions`)).body['data'] as Row[];
      expect(subscriptions.map(({ name }) => name as string)).toEqual(
        expect.arrayContaining(['orders.order-details', 'orders.fulfil', 'payments.charge', 'sagas.run']),
      );
      for (const { name, lag, deadLetters, owner } of subscriptions) {
        expect({ name, lag, deadLetters, owned: owner !== null }).toEqual({
          name,
          lag: 0,
          deadLetters: 0,
          owned: true,
        });
      }
    });

    it('the whole log, in order and without a gap, page by page', async () => {
      const positions: number[] = [];
      for (let after: string | null = '0'; after !== null;) {
        const { body } = await staff.get(`${operations}/events?limit=10&after=${after}`);
        positions.push(...body['data'].map(({ position }: { position: number }) => position));
        after = body['page'].next as string | null;
      }
      expect(positions).toEqual(positions.map((_, nth) => nth + 1));
    });

    it('why each event came to be', async () => {
      const { body } = await staff.get(`${operations}/events?aggregateId=${placed.body['id']}&type=order.paid`);
      expect(body['data']).toHaveLength(1);
      const [paid] = body['data'];
      expect(paid).toMatchObject({
        aggregateType: 'order',
        eventType: 'order.paid',
        metadata: { actor: 'system:orders.progress' },
      });
      const submitted = await staff.get(`${operations}/events?aggregateId=${placed.body['id']}&type=order.submitted`);
      const [first] = submitted.body['data'];
      expect(paid.metadata.correlationId).toBe(first.metadata.correlationId);
      expect(first.metadata.actor).toBe(`user:${placed.body['customerId']}`);
      expect(placed.headers.get('x-request-id')).toBe(first.metadata.correlationId);
    });

    it('nothing of a type that there is not, and nothing behind the end', async () => {
      for (const query of ['type=order.exploded', `aggregateId=${randomUUID()}`, 'after=9007199254740991']) {
        expect((await staff.get(`${operations}/events?${query}`)).body).toEqual({
          data: [],
          page: { next: null, hasMore: false },
        });
      }
    });
  });

  describe('a circuit breaker', () => {
    const breaker = async (name: string) => {
      const { body } = await staff.get(`${operations}/circuit-breakers`);
      return (body['data'] as Row[]).find((each) => each['name'] === name);
    };

    it.each([
      ['payment-provider', 'reserved', 'payment.requested'],
      ['carrier', 'paid', 'order.paid'],
    ])('of the %s, isolated, lets orders wait as %s, and none fail', async (name, status, type) => {
      expect(await staff.post(`${operations}/circuit-breakers/${name}/isolate`)).toMatchObject({
        status: 200,
        body: { name, state: 'OPEN', isolated: true },
      });
      const placed = await order(ada);
      await happened(shop, placed, type);
      // it is asked again and again
      for (const before = (await breaker(name))!['refusals'] as number; ;) {
        const now = await breaker(name);
        if ((now!['refusals'] as number) > before + 3) break;
      }
      expect(await ordersOf(ada, placed)).toMatchObject({ status });
      if (name === 'payment-provider') {
        const { body } = await staff.get(`${operations}/subscriptions`);
        const charge = (body['data'] as Row[]).find((each) => each['name'] === 'payments.charge');
        expect(charge).toMatchObject({ waiting: 1, deadLetters: 0 });
      }
      expect(await breaker(name)).toMatchObject({ state: 'OPEN', isolated: true });

      expect(await staff.post(`${operations}/circuit-breakers/${name}/reset`)).toMatchObject({
        status: 200,
        body: { name, state: 'CLOSED', isolated: false },
      });
      await after(shop, placed, 'order.fulfilling');
      await shop.settled();
      expect(await ordersOf(ada, placed)).toMatchObject({ status: 'fulfilling', paymentStatus: 'paid' });
      expect(await moneyOf(shop, placed.body['id'])).toEqual({ charges: 1, keptMinor: 2500 });
    });

    it('that there is not cannot be touched', async () => {
      const unknown = { status: 404, body: { code: 'circuit-breaker-unknown' } };
      expect(await staff.post(`${operations}/circuit-breakers/toString/isolate`)).toMatchObject(unknown);
      expect(await staff.post(`${operations}/circuit-breakers/none/reset`)).toMatchObject(unknown);
    });
  });

  it('an order is cancelled while its provider is away: its card is never charged', async () => {
    await staff.post(`${operations}/circuit-breakers/payment-provider/isolate`);
    const [paid, declined] = [await order(ada), await order(ada, { paymentMethod: 'sandbox_declined' })];
    for (const placed of [paid, declined]) {
      await happened(shop, placed, 'payment.requested');
      expect(await ada.post(`/v1/orders/${placed.body['id']}/cancel`)).toMatchObject({ status: 202 });
      await happened(shop, placed, 'order.cancelled');
    }
    await staff.post(`${operations}/circuit-breakers/payment-provider/reset`);
    await shop.settled();
    for (const placed of [paid, declined]) {
      expect(await ordersOf(ada, placed)).toMatchObject({ status: 'cancelled', paymentStatus: 'voided' });
      // never asked of the provider, neither then nor later
      expect(await story(shop, placed)).not.toContain('payment.attempted');
      expect(await moneyOf(shop, placed.body['id'])).toEqual({ charges: 0, keptMinor: 0 });
    }
  });

  describe('a saga that cannot be taken back', () => {
    const reason = { reason: 'called the carrier: it came back' };
    let placed: Answer;
    let id: string;

    beforeAll(async () => {
      placed = await order(ada, {}, waiting);
      // the parcel has left, and the news of it is on the way
      await query(shop, `update shipping.shipments set status = 'dispatched' where order_id = $1`, [placed.body['id']]);
      await ada.post(`/v1/orders/${placed.body['id']}/cancel`);
      await shop.settled();
      id = (await sagaOf(placed))['id'] as string;
    });

    it('is parked, with the step and the reason', async () => {
      expect(await staff.all(`${operations}/sagas?status=parked`)).toMatchObject([
        { id, subject: placed.body['id'], step: 'createShipment', error: { code: 'shipment-dispatched' } },
      ]);
      expect(await ordersOf(ada, placed)).toMatchObject({ status: 'cancelling', paymentStatus: 'paid' });
    });

    it('wants a reason for what is done with it', async () => {
      for (const action of ['retry', 'skip', 'reject-cancellation']) {
        for (const body of [{}, { reason: '' }, { reason: 1 }]) {
          expect(await staff.post(`${operations}/sagas/${id}/${action}`, body)).toMatchObject({ status: 400 });
        }
      }
    });

    it('is parked again when trying again does not help', async () => {
      expect(await staff.post(`${operations}/sagas/${id}/retry`, reason)).toMatchObject({ status: 200 });
      await shop.settled();
      expect((await sagaOf(placed))['status']).toBe('parked');
    });

    it('goes forward again when its cancellation is rejected, and says who and why', async () => {
      expect(await staff.post(`${operations}/sagas/${id}/reject-cancellation`, reason)).toMatchObject({
        status: 200,
        body: { id },
      });
      await after(shop, placed, 'order.cancellation-rejected');
      await shop.settled();
      expect(await sagaOf(placed)).toMatchObject({ status: 'completed' });
      expect(await ordersOf(ada, placed)).toMatchObject({
        status: 'fulfilling',
        paymentStatus: 'paid',
        cancellation: null,
        allowedActions: ['cancel'],
      });
      expect((await story(shop, placed)).slice(-2)).toEqual([
        'order.cancellation-requested',
        'order.cancellation-rejected',
      ]);
      const { body } = await staff.get(`${operations}/events?aggregateId=${id}&type=saga.resolved`);
      const me = (await staff.get('/v1/users/me')).body['id'] as string;
      expect(body['data'].map(({ payload }: Row) => payload)).toMatchObject([
        { step: 'createShipment', resolution: 'retry', by: `user:${me}`, ...reason },
        { step: 'createShipment', resolution: 'reject', by: `user:${me}`, ...reason },
      ]);
    });

    it('needs nobody any more', async () => {
      for (const action of ['retry', 'skip', 'reject-cancellation']) {
        expect(await staff.post(`${operations}/sagas/${id}/${action}`, reason)).toMatchObject({
          status: 409,
          body: { code: 'saga-not-parked' },
        });
        expect(await staff.post(`${operations}/sagas/${randomUUID()}/${action}`, reason)).toMatchObject({
          status: 404,
        });
      }
    });

    it('goes on with what is left to be taken back when the step is skipped', async () => {
      const before = await stockOf(shop, tea);
      const other = await order(ada, {}, waiting);
      await query(shop, `update shipping.shipments set status = 'dispatched' where order_id = $1`, [other.body['id']]);
      await ada.post(`/v1/orders/${other.body['id']}/cancel`);
      await shop.settled();
      const saga = await sagaOf(other);
      expect(saga).toMatchObject({ status: 'parked' });
      await staff.post(`${operations}/sagas/${saga['id']}/skip`, reason);
      await after(shop, other, 'order.cancelled');
      expect(await ordersOf(ada, other)).toMatchObject({ status: 'cancelled', paymentStatus: 'refunded' });
      expect((await story(shop, other)).slice(-3)).toEqual(['payment.refunded', 'stock.released', 'order.cancelled']);
      expect(await stockOf(shop, tea)).toEqual(before);
    });
  });

  describe('dead letters', () => {
    let letters: Row[];
    const path = (letter: Row) => `${operations}/dead-letters/${letter['subscription']}/${letter['position']}`;

    it('are none at first', async () => {
      expect(await staff.all(`${operations}/dead-letters`)).toEqual([]);
    });

    it('are what nobody can digest, one for each who tried', async () => {
      const poison = { type: 'order.cancelled', orderId: 'not an order', reason: 'poison' };
      const events = shop.app.get(EventStore, { strict: false });
      await events.append({ type: 'poison', id: randomUUID() }, [poison]);
      await shop.settled();
      letters = await staff.all(`${operations}/dead-letters`);
      expect(letters.map(({ subscription }) => subscription as string).sort()).toEqual([
        'orders.order-details',
        'orders.timeline',
        'payments.refund-cancelled',
        'products.release-cancelled',
      ]);
      for (const letter of letters) {
        expect(letter).toMatchObject({ eventType: 'order.cancelled', state: 'failed', attempts: 2, resolvedBy: null });
        expect(letter['error']).toContain('uuid');
        expect((await staff.get(path(letter))).body).toEqual(letter);
      }
      const [letter] = await staff.all(`${operations}/dead-letters?subscription=orders.timeline&state=failed`);
      expect(letter).toMatchObject({ subscription: 'orders.timeline' });
      expect(await staff.all(`${operations}/dead-letters?state=discarded`)).toEqual([]);
    });

    it('are counted', async () => {
      const { body } = await staff.get(`${operations}/subscriptions`);
      const count = (body['data'] as Row[]).filter((each) => each['deadLetters'] === 1);
      expect(count).toHaveLength(4);
    });

    it('hold nobody else up', async () => {
      const placed = await order(ada, {}, waiting);
      expect(placed.body).toMatchObject({ status: 'fulfilling' });
      await ada.post(`/v1/orders/${placed.body['id']}/cancel`);
      await after(shop, placed, 'order.cancelled');
      expect(await ordersOf(ada, placed)).toMatchObject({ status: 'cancelled', paymentStatus: 'refunded' });
    });

    it('can be delivered again', async () => {
      const letter = letters.find(({ subscription }) => subscription === 'products.release-cancelled')!;
      const plan = await staff.post(`${path(letter)}/replay?dryRun=true`);
      expect(plan).toMatchObject({
        status: 202,
        body: { data: [{ position: letter.position, replayRequestedBy: null }] },
      });
      const answer = await staff.post(`${path(letter)}/replay`);
      expect(answer).toMatchObject({
        status: 202,
        body: { data: [{ replayRequestedBy: expect.stringMatching(/^user:/) }] },
      });
      for (let attempts = 2; attempts < 3;) attempts = (await staff.get(path(letter))).body['attempts'] as number;
      expect((await staff.get(path(letter))).body).toMatchObject({ state: 'failed', replayRequestedBy: null });
    });

    it('can be delivered again all at once', async () => {
      const { body } = await staff.post(`${operations}/dead-letters/replay`, { subscription: 'orders.timeline' });
      expect(body).toEqual({ requested: 1 });
      const letter = letters.find(({ subscription }) => subscription === 'orders.timeline')!;
      for (let attempts = 0; attempts < 3;) attempts = (await staff.get(path(letter))).body['attempts'] as number;
    });

    it('can be given up, with a reason, once', async () => {
      for (const letter of letters) {
        expect(await staff.delete(path(letter), {})).toMatchObject({ status: 400 });
        expect(await staff.delete(path(letter), { reason: 'poison' })).toMatchObject({
          status: 200,
          body: { state: 'discarded', reason: 'poison', resolvedBy: expect.stringMatching(/^user:/) },
        });
        const done = { status: 409, body: { code: 'dead-letter-discarded' } };
        expect(await staff.delete(path(letter), { reason: 'poison' })).toMatchObject(done);
        expect(await staff.post(`${path(letter)}/replay`)).toMatchObject(done);
      }
      expect(await staff.all(`${operations}/dead-letters?state=failed`)).toEqual([]);
    });

    it('that there are not cannot be touched', async () => {
      const unknown = { status: 404, body: { code: 'dead-letter-unknown' } };
      for (const position of ['1', '0', '9007199254740991', '99999999999999999999']) {
        const nowhere = `${operations}/dead-letters/orders.timeline/${position}`;
        expect(await staff.get(nowhere)).toMatchObject(unknown);
        expect(await staff.post(`${nowhere}/replay`)).toMatchObject(unknown);
        expect(await staff.delete(nowhere, { reason: 'none' })).toMatchObject(unknown);
      }
      expect(await staff.get(`${operations}/dead-letters/orders.timeline/first`)).toMatchObject({ status: 400 });
    });
  });

  it('leaves the books in order', () => expectBooksInOrder(shop));
});
