import { CommandBus } from '@nestjs/cqrs';
import { CreateShipment } from '../../src/modules/shipping/contracts/create-shipment';
import { eventually } from '../kernel/support';
import type { Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import {
  account,
  address,
  cups,
  expectBooksInOrder,
  idOf,
  moneyOf,
  order,
  ordersOf,
  query,
  stockOf,
  story,
  waiting,
} from './shop';

const gone = { name: '[erased]', line1: '[erased]', city: '[erased]', countryCode: '[erased]' };

/** Tables of the whole database in which a text occurs. */
async function tablesWith(shop: TestApp, text: string): Promise<string[]> {
  const tables = await query<{ name: string }>(
    shop,
    `select format('%I.%I', schemaname, tablename) as name from pg_tables
     where schemaname not in ('pg_catalog', 'information_schema')`,
  );
  const found: string[] = [];
  for (const { name } of tables) {
    const rows = await query(shop, `select from ${name} t where t::text ilike '%' || $1 || '%' limit 1`, [text]).catch(
      (error: { code?: string }) => {
        // the table of a rebuild that has taken the place of the view by now
        if (error.code === '42P01' && name.endsWith('__rebuild')) return [];
        throw error;
      },
    );
    if (rows.length > 0) found.push(name);
  }
  return found;
}

describe('being forgotten', () => {
  let shop: TestApp;

  beforeAll(async () => {
    shop = await startApp();
  });
  afterAll(() => shop.close());

  const log = (orderId: string) =>
    query(shop, 'select * from event_store.events where aggregate_id = $1 order by version', [orderId]);

  describe('as a customer', () => {
    let mary: Api;
    let maryId: string;
    let sent: Awaited<ReturnType<typeof order>>;
    let open: Awaited<ReturnType<typeof order>>;
    let draft: Awaited<ReturnType<typeof order>>;
    let before: Awaited<ReturnType<typeof log>>;
    const at = { ...address, name: 'Mary Somerville', line1: '12 Jedburgh Lane' };

    beforeAll(async () => {
      mary = await shop.customer('Somerville');
      maryId = await idOf(mary);
      const lines = [{ productId: cups, quantity: 1 }];
      sent = await order(mary, { lines, shippingAddress: at }, waiting);
      const shipment = `/v1/shipments/${sent.body['shipmentId'] as string}`;
      await shop.admin.post(`${shipment}/dispatch`);
      await shop.admin.post(`${shipment}/deliver`);
      open = await order(mary, { lines, shippingAddress: at }, waiting);
      draft = await order(mary, { lines, shippingAddress: at, submit: false });
      await shop.settled();
      before = await log(sent.body['id'] as string);
    });

    it('is not yet: the owner and the staff see the address, and no table but the accounts has a word of it', async () => {
      expect(await ordersOf(mary, sent)).toMatchObject({ status: 'completed', shippingAddress: at });
      expect((await shop.admin.get(`/v1/shipments/${sent.body['shipmentId']}`)).body).toMatchObject({ address: at });
      expect((await mary.get(`/v1/orders/${sent.body['id']}/events`)).body.data[0].payload).toMatchObject({
        shippingAddress: at,
      });
      for (const text of ['Mary', 'Jedburgh']) expect(await tablesWith(shop, text)).toEqual([]);
      expect(await tablesWith(shop, 'Somerville')).toEqual(['users.users']);
    });

    it('is one request', async () => {
      expect((await mary.delete('/v1/users/me')).status).toBe(204);
      // her access token ended with the account
      expect((await mary.delete('/v1/users/me')).status).toBe(401);
      await shop.settled();
    });

    it('leaves no trace in any table', async () => {
      expect(await tablesWith(shop, 'Somerville')).toEqual([]);
      expect((await shop.admin.get(`/v1/users/${maryId}`)).body).toMatchObject({
        name: '[erased]',
        email: '[erased]',
        status: 'erased',
      });
    });

    it('shows [erased] where the address was, now and in the past, in orders, shipments and events', async () => {
      const { id, shipmentId } = sent.body as Record<string, string>;
      expect((await shop.admin.get(`/v1/orders/${id}`)).body).toMatchObject({ shippingAddress: gone });
      expect((await shop.admin.get(`/v1/orders/${id}?version=1`)).body).toMatchObject({ shippingAddress: gone });
      expect((await shop.admin.get(`/v1/shipments/${shipmentId}`)).body).toMatchObject({ address: gone });
      const events = await shop.admin.all(`/v1/orders/${id}/events`);
      expect(events[0].payload).toMatchObject({ shippingAddress: gone });
    });

    it('does not touch the log', async () => {
      expect(await log(sent.body['id'] as string)).toEqual(before);
      expect((await shop.admin.get(`/v1/orders/${sent.body['id']}`)).body).toMatchObject({ status: 'completed' });
    });

    it('outlasts a rebuild of the views', async () => {
      await shop.admin.post('/v1/operations/subscriptions/orders.order-details/rebuild');
      await shop.settled();
      expect((await shop.admin.get(`/v1/orders/${sent.body['id']}`)).body).toMatchObject({ shippingAddress: gone });
    });

    it('cancels and refunds what has not left yet', async () => {
      for (const one of [open, draft]) {
        expect((await shop.admin.get(`/v1/orders/${one.body['id']}`)).body).toMatchObject({
          status: 'cancelled',
          cancellation: { reason: 'The account was erased.' },
        });
      }
      expect(await moneyOf(shop, open.body['id'] as string)).toEqual({ charges: 1, keptMinor: 0 });
      expect(await story(shop, open)).toContain('shipment.cancelled');
      expect(await stockOf(shop, cups)).toMatchObject({ reserved: 0 });
    });

    it('ends all that the account could do', async () => {
      expect(
        await mary.post('/v1/orders', { lines: [{ productId: cups, quantity: 1 }], shippingAddress: at }),
      ).toMatchObject({ status: 401, body: { code: 'unauthenticated' } });
      const email = 'somerville-1@example.com';
      const password = 'correct horse battery staple';
      const signIn = { grant_type: 'password', username: email, password };
      expect((await mary.post('/v1/auth/token', signIn)).status).toBe(401);
      expect(await shop.admin.put(`/v1/users/${maryId}/roles`, { roles: ['staff'] })).toMatchObject({
        status: 409,
        body: { code: 'user-erased' },
      });
      // the address is free again, for somebody new
      expect((await mary.post('/v1/auth/register', { email, name: 'Ada', password })).status).toBe(201);
    });
  });

  it('is possible for an administrator to do for others, and for nobody else', async () => {
    const eve = await shop.customer('Eve');
    const ada = await account(shop);
    const adaId = await idOf(ada);
    const { email } = (await ada.get('/v1/users/me')).body as { email: string };
    expect(await tablesWith(shop, email)).toEqual(['users.users']);
    expect((await eve.delete(`/v1/users/${adaId}`)).status).toBe(403);
    expect((await shop.admin.delete(`/v1/users/${adaId}`)).status).toBe(204);
    expect((await ada.get('/v1/users/me')).status).toBe(401);
    expect((await shop.admin.get(`/v1/users/${adaId}`)).body).toMatchObject({ status: 'erased', name: '[erased]' });
    // nor among the answers that are kept for whoever repeats a request: staff opened this account
    expect(await tablesWith(shop, email)).toEqual([]);
  });

  it('is refused to the last administrator', async () => {
    expect(await shop.admin.delete('/v1/users/me')).toMatchObject({ status: 409, body: { code: 'last-admin' } });
    expect((await shop.admin.get('/v1/users/me')).body).toMatchObject({ status: 'active', name: 'Administrator' });
  });

  it('takes an order back that nobody can read the address of any more', async () => {
    const ada = await shop.customer();
    // between payment and shipment
    const placed = await order(ada, { paymentMethod: 'sandbox_slow' });
    await query(shop, 'update personal_data.keys set key = null, erased_at = now() where person = $1', [
      await idOf(ada),
    ]);
    await shop.settled();
    expect((await shop.admin.get(`/v1/orders/${placed.body['id']}`)).body).toMatchObject({
      status: 'cancelled',
      cancellation: { step: 'createShipment', code: 'address-erased' },
    });
    expect(await moneyOf(shop, placed.body['id'] as string)).toEqual({ charges: 1, keptMinor: 0 });
    // nor can a late command book the parcel after all
    const shipments = 'select status from shipping.shipments where order_id = $1';
    expect(await query(shop, shipments, [placed.body['id']])).toEqual([{ status: 'cancelled' }]);
  });

  it('leaves a parcel that was booked already what it was, should the booking be asked for once more', async () => {
    const ada = await shop.customer();
    const placed = await order(ada, {}, waiting);
    const orderId = placed.body['id'] as string;
    const [shipment] = await query(shop, 'select id, address, lines from shipping.shipments where order_id = $1', [
      orderId,
    ]);
    await query(shop, 'update personal_data.keys set key = null, erased_at = now() where person = $1', [
      await idOf(ada),
    ]);
    const again = new CreateShipment(orderId, shipment!['address'], shipment!['lines']);
    const booked = await shop.app.get(CommandBus, { strict: false }).execute(again);
    expect(booked).toEqual({ shipmentId: placed.body['shipmentId'], trackingNumber: placed.body['trackingNumber'] });
  });

  it('overlooks no order while the view of orders stands still', async () => {
    const ada = await shop.customer();
    const view = '/v1/operations/subscriptions/orders.order-details';
    await shop.admin.post(`${view}/pause`);
    // it ends with what is in hand
    const owner = `select owner from subscriptions.checkpoints where name = 'orders.order-details'`;
    await eventually(async () => (await query(shop, owner))[0]!['owner'] === null);
    const [unseen] = await Promise.all([
      eventually(async () => {
        const sql = `select aggregate_id from event_store.events
                     where event_type = 'order.created' and payload -> 'customer' ->> 'userId' = $1`;
        return (await query<{ aggregate_id: string }>(shop, sql, [await idOf(ada)]))[0]?.aggregate_id;
      }),
      ada.post('/v1/orders', { lines: [{ productId: cups, quantity: 1 }], shippingAddress: address }),
    ]);
    expect((await ada.delete('/v1/users/me')).status).toBe(204);
    await shop.admin.post(`${view}/resume`);
    await shop.settled();
    expect((await shop.admin.get(`/v1/orders/${unseen}`)).body).toMatchObject({ status: 'cancelled' });
  });

  describe('as a guest', () => {
    it('is the staff’s to do, order by order', async () => {
      const guest = { name: 'Hypatia', email: 'hypatia@example.com' };
      const placed = await order(shop.admin, { guest, shippingAddress: { ...address, name: 'Hypatia' } }, waiting);
      const path = `/v1/orders/${placed.body['id']}`;
      expect((await shop.admin.get(path)).body).toMatchObject({ guest, shippingAddress: { name: 'Hypatia' } });
      expect(await tablesWith(shop, 'Hypatia')).toEqual([]);

      expect((await (await account(shop)).delete(`${path}/guest`)).status).toBe(404);
      expect((await shop.admin.delete(`${path}/guest`)).status).toBe(204);
      await shop.settled();
      const shown = { guest: { name: '[erased]', email: '[erased]' }, shippingAddress: gone };
      expect((await shop.admin.get(path)).body).toMatchObject({ status: 'cancelled', ...shown });
      const [listed] = (await shop.admin.get('/v1/orders?status=cancelled&limit=1&sort=-createdAt')).body.data;
      expect(listed).toMatchObject({ guest: shown.guest });
    });

    it('is not the way to erase an account', async () => {
      const placed = await order(await shop.customer(), {}, waiting);
      expect(await shop.admin.delete(`/v1/orders/${placed.body['id']}/guest`)).toMatchObject({
        status: 409,
        body: { code: 'not-a-guest' },
      });
    });
  });

  it('leaves the books in order', () => expectBooksInOrder(shop));
});
