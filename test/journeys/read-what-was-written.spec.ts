import { eventually } from '../kernel/support';
import { startApp, type TestApp } from '../support/app';
import { account, anOrder, cups, tea } from './shop';
import type { Api } from '../support/api';

/** A write that was committed is answered as committed, whatever the views know of it. */
describe('while the view of orders is paused', () => {
  const subscription = '/v1/operations/subscriptions/orders.order-details';
  let shop: TestApp;
  let ada: Api;

  beforeAll(async () => {
    shop = await startApp();
    ada = await account(shop);
    expect((await shop.admin.post(`${subscription}/pause`)).status).toBe(202);
    // its worker gives the lease back at the next renewal
    await eventually(async () => {
      const { body } = await shop.admin.get('/v1/operations/subscriptions');
      const paused = (body['data'] as { name: string; owner: string | null }[]).filter(
        ({ name }) => name === 'orders.order-details',
      );
      return paused.length === 1 && paused[0]!.owner === null;
    });
  });
  afterAll(() => shop.close());

  it('answers a placed order with the order, and a repeat with the same', async () => {
    const key = { 'idempotency-key': 'placed-while-paused' };
    const placed = await ada.post('/v1/orders', anOrder(), key);
    expect(placed).toMatchObject({
      status: 202,
      body: {
        lines: [{ productId: tea, quantity: 2 }],
        total: { amountMinor: 2500 },
        shippingAddress: { city: 'London' },
      },
    });
    expect(placed.body).toMatchObject({ status: expect.stringMatching(/^(submitted|reserved|paid|fulfilling)$/) });
    const again = await ada.post('/v1/orders', anOrder(), key);
    expect({ status: again.status, body: again.body }).toEqual({ status: placed.status, body: placed.body });
  });

  it('finds the order also when it is asked for later', async () => {
    const { body } = await ada.post('/v1/orders', { lines: [{ productId: tea, quantity: 1 }] });
    expect(await ada.get(`/v1/orders/${body['id']}`)).toMatchObject({
      status: 200,
      body: { id: body['id'], version: 1 },
    });
  });

  it('answers each change of a draft with what it made of it', async () => {
    const draft = await ada.post('/v1/orders', { lines: [{ productId: tea, quantity: 1 }] });
    expect(draft).toMatchObject({ status: 201, body: { version: 1, status: 'draft' } });
    const path = `/v1/orders/${draft.body['id']}`;
    const added = await ada.post(`${path}/lines`, { productId: cups, quantity: 1 });
    expect(added).toMatchObject({ status: 201, body: { version: 2, lineCount: 2 } });
    expect(added.headers.get('etag')).toMatch(/^"2\+/);
    const lineId = added.body['lines'][0].lineId as string;
    expect(await ada.patch(`${path}/lines/${lineId}`, { quantity: 5 })).toMatchObject({
      status: 200,
      body: { version: 3, lines: [{ quantity: 5 }, { quantity: 1 }] },
    });
    expect(await ada.post(`${path}/cancel`)).toMatchObject({ status: 202, body: { version: 4, status: 'cancelled' } });
  });

  it('shows nothing of it to other customers', async () => {
    const { body } = await ada.post('/v1/orders', { lines: [{ productId: tea, quantity: 1 }] });
    const eve = await account(shop);
    expect((await eve.post(`/v1/orders/${body['id']}/cancel`)).status).toBe(404);
    expect((await eve.get(`/v1/orders/${body['id']}`)).status).toBe(404);
  });

  it('shows the same in the view after it was resumed', async () => {
    const draft = await ada.post('/v1/orders', { lines: [{ productId: tea, quantity: 3 }] });
    expect((await shop.admin.post(`${subscription}/resume`)).status).toBe(202);
    await shop.settled();
    expect((await ada.get(`/v1/orders/${draft.body['id']}`)).body).toEqual(draft.body);
  });
});
