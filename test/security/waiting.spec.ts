import { randomUUID } from 'node:crypto';
import { account, anOrder, query, whilePaused } from '../journeys/shop';
import { eventually } from '../kernel/support';
import type { Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';

// 68 orders
jest.setTimeout(90_000);

describe('requests that wait for what follows from them', () => {
  let shop: TestApp;
  let ada: Api;
  let bob: Api;

  beforeAll(async () => {
    shop = await startApp();
    [ada, bob] = await Promise.all([account(shop), account(shop)]);
  });
  afterAll(() => shop.close());

  const wait = { prefer: 'wait=60' };
  const place = async (api: Api) => (await api.post('/v1/orders', anOrder(), wait)).headers.get('preference-applied');
  /** Places an order as a client that is gone before it is answered. */
  const leave = async (api: Api, signal: AbortSignal) => {
    const headers = { ...wait, authorization: `Bearer ${api.token}`, 'idempotency-key': randomUUID() };
    const body = JSON.stringify(anOrder());
    await fetch(`${shop.url}/v1/orders`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body,
      signal,
    }).catch(() => undefined);
  };
  const ordersPlaced = async () => (await query(shop, 'select from orders.orders_view')).length;

  it('are answered at once when too many of the account wait, also for clients that are gone; others wait', async () => {
    await whilePaused(shop, 'orders.fulfil', async () => {
      const gone = new AbortController();
      const left = Array.from({ length: 64 }, () => leave(ada, gone.signal));
      await eventually(async () => (await ordersPlaced()) === 64, 30_000);
      gone.abort();
      await Promise.all(left);
      expect(await Promise.all([place(ada), place(ada), place(ada)])).toEqual([null, null, null]);
      const waiting = place(bob);
      await eventually(async () => (await ordersPlaced()) === 68, 30_000);
      await shop.admin.post('/v1/operations/subscriptions/orders.fulfil/resume');
      expect(await waiting).toBe('wait=60');
    });
    await shop.settled();
    // those that waited have ended
    expect(await place(ada)).toBe('wait=60');
  });
});
