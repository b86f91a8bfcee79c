import { eventually } from '../kernel/support';
import type { Answer, Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { account, happened, order, waiting, whilePaused } from './shop';

describe('cancelling an order with Prefer: wait', () => {
  let shop: TestApp;
  let ada: Api;

  beforeAll(async () => {
    shop = await startApp();
    ada = await account(shop);
  });
  afterAll(() => shop.close());

  const cancel = (placed: Answer, headers: Record<string, string> = { prefer: 'wait=30' }) =>
    ada.post(`/v1/orders/${placed.body['id']}/cancel`, {}, headers);

  it('answers when all has been taken back', async () => {
    const placed = await order(ada, {}, waiting);
    const answer = await cancel(placed);
    expect(answer).toMatchObject({
      status: 202,
      body: { status: 'cancelled', paymentStatus: 'refunded', fulfilmentStatus: 'cancelled' },
    });
    expect(answer.headers.get('preference-applied')).toBe('wait=30');
    expect(answer.headers.get('location')).toBe(`/v1/orders/${placed.body['id']}`);
  });

  it('answers when the cancellation is rejected', async () => {
    const placed = await order(ada, {}, waiting);
    await whilePaused(shop, 'sagas.run', async () => {
      const answered = cancel(placed, { prefer: 'wait=60' });
      await happened(shop, placed, 'order.cancellation-requested');
      await shop.admin.post(`/v1/shipments/${placed.body['shipmentId']}/dispatch`, { hasLeft: true });
      expect(await answered).toMatchObject({ status: 202, body: { cancellation: null } });
      expect((await answered).body['status']).not.toBe('cancelling');
    });
  });

  it('answers at once when there is nothing to wait for, or nobody asked to wait', async () => {
    const draft = await order(ada, { submit: false });
    expect(await cancel(draft)).toMatchObject({ status: 202, body: { status: 'cancelled' } });
    expect(await cancel(draft)).toMatchObject({ status: 202, body: { status: 'cancelled' } });
    const placed = await order(ada, {}, waiting);
    await whilePaused(shop, 'sagas.run', async () => {
      const answer = await cancel(placed, {});
      expect(answer).toMatchObject({ status: 202, body: { status: 'cancelling' } });
      expect(answer.headers.get('preference-applied')).toBeNull();
    });
  });

  it('answers when the time is over, with the order as it is then', async () => {
    const placed = await order(ada, {}, waiting);
    await whilePaused(shop, 'sagas.run', async () => {
      expect(await cancel(placed, { prefer: 'wait=1' })).toMatchObject({ body: { status: 'cancelling' } });
    });
    await eventually(async () => (await ada.get(`/v1/orders/${placed.body['id']}`)).body['status'] === 'cancelled');
  });
});
