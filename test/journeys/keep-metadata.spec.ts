import type { Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { account, order, ordersOf, query, teapot, waiting } from './shop';

/** In the log, in the views, and in what idempotency keeps. */
const everywhere = `select coalesce(string_agg(text, ' '), '') as text from (
  select payload::text as text from event_store.events
  union all select to_jsonb(v)::text from orders.orders_view v
  union all select to_jsonb(t)::text from orders.timeline t
  union all select to_jsonb(u)::text from users.users u
  union all select to_jsonb(s)::text from event_store.snapshots s
  union all select to_jsonb(k)::text from gateway.idempotency_keys k) all_texts`;

describe('metadata', () => {
  let shop: TestApp;
  let ada: Api;
  let staff: Api;

  beforeAll(async () => {
    shop = await startApp();
    [ada, staff] = await Promise.all([account(shop), account(shop, ['staff'])]);
  });
  afterAll(() => shop.close());

  const stored = async () => (await query<{ text: string }>(shop, everywhere))[0]!.text;
  const keys = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`key-${n}`, 'x']));

  /** What metadata can be set on: how it is made, and where it is changed. */
  const resources: [string, (metadata?: object) => Promise<{ api: Api; path: string; metadata: unknown }>][] = [
    [
      'an order',
      async (metadata) => {
        const { body } = await order(ada, { submit: false, metadata });
        return { api: ada, path: `/v1/orders/${body['id']}`, metadata: body['metadata'] };
      },
    ],
    [
      'a product',
      async (metadata) => {
        const price = { amountMinor: 100, currency: 'EUR' };
        const product = { sku: crypto.randomUUID(), name: 'Noted', price, metadata };
        const { body } = await staff.post('/v1/products', product);
        return { api: staff, path: `/v1/products/${body['id']}`, metadata: body['metadata'] };
      },
    ],
    [
      'an account',
      async (metadata) => {
        if (metadata) {
          const user = { email: `${crypto.randomUUID()}@example.com`, name: 'Noted', metadata };
          const { body } = await staff.post('/v1/users', user);
          expect((await shop.admin.get(`/v1/users/${body['id']}`)).body['metadata']).toEqual(body['metadata']);
          const own = await account(shop);
          const headers = { 'if-match': (await own.get('/v1/users/me')).headers.get('etag')! };
          expect((await own.patch('/v1/users/me', { metadata }, headers)).body['metadata']).toEqual(body['metadata']);
          return { api: own, path: '/v1/users/me', metadata: body['metadata'] };
        }
        const own = await account(shop);
        return { api: own, path: '/v1/users/me', metadata: (await own.get('/v1/users/me')).body['metadata'] };
      },
    ],
  ];

  describe.each(resources)('of %s', (_, make) => {
    const patch = async ({ api, path }: { api: Api; path: string }, metadata: unknown) =>
      api.patch(path, { metadata }, { 'if-match': (await api.get(path)).headers.get('etag')! });

    it('is set when it is made, and empty without', async () => {
      expect((await make()).metadata).toEqual({});
      const { api, path, metadata } = await make({ channel: 'web', 'crm.id_1': '42', empty: '' });
      expect(metadata).toEqual({ channel: 'web', 'crm.id_1': '42' });
      expect((await api.get(path)).body['metadata']).toEqual(metadata);
    });

    it('is merged by PATCH: null and an empty text remove a key, others stay', async () => {
      const made = await make({ a: '1', b: '2', c: '3' });
      const before = (await made.api.get(made.path)).body['version'] as number;
      const changed = await patch(made, { a: null, b: '', d: ' ä ' });
      expect(changed).toMatchObject({ status: 200, body: { metadata: { c: '3', d: 'ä' }, version: before + 1 } });
      expect(Object.keys(changed.body['metadata'])).toHaveLength(2);
      const same = await patch(made, { c: '3', gone: null });
      expect(same).toMatchObject({ status: 200, body: { version: before + 1 } });
      expect((await patch(made, {})).body).toMatchObject({ version: before + 1 });
      expect((await patch(made, { c: null, d: null })).body['metadata']).toEqual({});
      const stale = await made.api.patch(made.path, { metadata: { a: '5' } }, { 'if-match': `"${before}"` });
      expect(stale.status).toBe(412);
    });

    it('has at most 50 keys and short texts, also after a change: it says what is wrong', async () => {
      const made = await make(keys(50));
      expect(Object.keys(made.metadata as object)).toHaveLength(50);
      expect(await patch(made, { more: 'x' })).toMatchObject({ status: 422, body: { code: 'metadata-too-large' } });
      expect((await patch(made, { more: 'x', 'key-0': null })).status).toBe(200);
      const wrong = [
        ...['text', 1, true, [], ['x'], keys(51)],
        ...[{ a: 1 }, { a: {} }, { a: ['x'] }, { a: 'x'.repeat(501) }],
        ...[{ '': 'x' }, { ['k'.repeat(41)]: 'x' }, { 'a b': 'x' }, { ä: 'x' }, { 'a/b': 'x' }],
      ];
      for (const metadata of wrong) {
        const answer = await patch(made, metadata);
        expect({ metadata, status: answer.status, body: answer.body }).toMatchObject({
          status: 400,
          body: { errors: [{ pointer: '/metadata', message: expect.stringContaining('at most 50 keys') }] },
        });
      }
      expect(
        (await patch(made, { a: 'x'.repeat(500), 'key-1': null, ['k'.repeat(40)]: 'x', 'key-2': '' })).status,
      ).toBe(200);
    });
  });

  it('of an order can be changed in any state, by its owner and staff only, and is in lists and in its past', async () => {
    const placed = await ordersOf(ada, await order(ada, { metadata: { gift: 'yes' } }, waiting));
    const path = `/v1/orders/${placed['id']}`;
    expect((await ada.patch(path, { metadata: { note: 'ring' } })).body).toMatchObject({ status: 'fulfilling' });
    expect((await staff.patch(path, { metadata: { lane: '7' } })).status).toBe(200);
    const all = { gift: 'yes', note: 'ring', lane: '7' };
    for (const what of ['dispatch', 'deliver']) await staff.post(`/v1/shipments/${placed['shipmentId']}/${what}`);
    await shop.settled();
    expect((await ada.get(path)).body).toMatchObject({ status: 'completed', metadata: all });
    const listed = (await ada.get(`/v1/orders?status=completed`)).body['data'];
    expect(listed).toMatchObject([{ metadata: all }]);
    expect((await ada.get(`${path}?version=1`)).body['metadata']).toEqual({ gift: 'yes' });
    const events = (await ada.all(`${path}/events`)).filter(({ eventType }) => eventType === 'order.metadata-changed');
    expect(events.map(({ payload }) => payload.metadata as object)).toEqual([{ gift: 'yes', note: 'ring' }, all]);
    expect((await ada.all(`${path}/timeline`)).map(({ type }) => type as string)).toContain('order.metadata-changed');
    const eve = await account(shop);
    expect(await eve.patch(path, { metadata: { a: 'b' } })).toMatchObject({
      status: 404,
      body: { code: 'order-unknown' },
    });
    const draft = (await order(ada, { submit: false })).body;
    await ada.post(`/v1/orders/${draft['id']}/cancel`);
    expect((await ada.patch(`/v1/orders/${draft['id']}`, { metadata: { why: 'x' } })).body).toMatchObject({
      status: 'cancelled',
      metadata: { why: 'x' },
    });
  });

  it('is unreadable everywhere once its customer is erased, keys as well, and cannot be set any more', async () => {
    const leaving = await account(shop);
    const secret = { 'lovelace-key': 'lovelace-text' };
    const headers = { 'if-match': (await leaving.get('/v1/users/me')).headers.get('etag')! };
    await leaving.patch('/v1/users/me', { metadata: secret }, headers);
    const placed = await order(leaving, { metadata: secret }, waiting);
    const path = `/v1/orders/${placed.body['id']}`;
    await leaving.patch(path, { metadata: { second: 'lovelace-more' } });
    const { shipmentId } = (await leaving.get(path)).body as { shipmentId: string };
    for (const what of ['dispatch', 'deliver']) await staff.post(`/v1/shipments/${shipmentId}/${what}`);
    const guests = await order(staff, { submit: false, guest: { name: 'Grace' }, metadata: secret });
    await shop.settled();
    const { id } = (await leaving.get('/v1/users/me')).body as { id: string };
    // before the erasure, only the account's row has it in the clear
    expect((await stored()).match(/lovelace-(key|text|more)/g)).toEqual(['lovelace-key', 'lovelace-text']);

    await leaving.delete('/v1/users/me');
    await staff.delete(`/v1/orders/${guests.body['id']}/guest`);
    await shop.settled();
    expect(await stored()).not.toContain('lovelace');
    for (const erased of [path, `/v1/orders/${guests.body['id']}`]) {
      expect((await staff.get(erased)).body['metadata']).toEqual({});
      for (const page of [erased, `${erased}/events`, `${erased}/timeline`]) {
        expect(JSON.stringify((await staff.get(page)).body)).not.toContain('lovelace');
      }
      expect(await staff.patch(erased, { metadata: { a: 'b' } })).toMatchObject({
        status: 409,
        body: { code: 'person-erased' },
      });
    }
    expect((await shop.admin.get(`/v1/users/${id}`)).body).toMatchObject({ status: 'erased', metadata: {} });
  });

  it('of a product is for everybody to read, and is in its events', async () => {
    const path = `/v1/products/${teapot}`;
    const headers = { 'if-match': (await staff.get(path)).headers.get('etag')! };
    await staff.patch(path, { metadata: { shelf: 'B4' } }, headers);
    expect((await (await fetch(shop.url + path)).json()) as object).toMatchObject({ metadata: { shelf: 'B4' } });
    const events = await shop.admin.all(`/v1/operations/events?aggregateId=${teapot}&type=product.changed`);
    expect(events.at(-1)!['payload']).toMatchObject({ metadata: { shelf: 'B4' } });
  });
});
