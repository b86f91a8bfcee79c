import { randomUUID } from 'node:crypto';
import type { Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import {
  account,
  accountsOf,
  address,
  expectBooksInOrder,
  idOf,
  order,
  query,
  sencha,
  tea,
  teapot,
  waiting,
  type Row,
} from './shop';

describe('looking around', () => {
  let shop: TestApp;
  let ada: Api;
  let staff: Api;

  beforeAll(async () => {
    shop = await startApp();
    ada = await shop.customer();
    staff = await account(shop, ['customer', 'staff']);
  });
  afterAll(() => shop.close());

  const ids = (rows: readonly Row[]) => rows.map((row) => row['id'] as string);
  const draft = (api: Api, change: object = {}) => order(api, { submit: false, ...change });

  describe('in a list of orders', () => {
    /** 1 to 12 packs, in this order. */
    let made: string[];
    let buyer: Api;

    beforeAll(async () => {
      buyer = await account(shop);
      made = [];
      for (let quantity = 1; quantity <= 12; quantity++) {
        const change = { lines: [{ productId: tea, quantity }], reference: `nr-${quantity}` };
        made.push((await draft(buyer, change)).body['id'] as string);
      }
    });

    it('the newest come first', async () => {
      expect(ids(await buyer.all('/v1/orders'))).toEqual(made.toReversed());
    });

    it.each([
      ['createdAt', (list: string[]) => list],
      ['-createdAt', (list: string[]) => list.toReversed()],
      ['orderedAt', (list: string[]) => list],
      ['-orderedAt', (list: string[]) => list.toReversed()],
      ['total', (list: string[]) => list],
      ['-total', (list: string[]) => list.toReversed()],
    ])('sorted by %s, pages neither repeat nor skip one while others come in', async (sort, expected) => {
      const reader = await account(shop);
      const mine: string[] = [];
      for (let quantity = 1; quantity <= 7; quantity++) {
        const change = { lines: [{ productId: sencha, quantity: quantity * 2 }] };
        mine.push((await draft(reader, change)).body['id'] as string);
      }
      const before = new Set(mine);
      const seen: string[] = [];
      let next: string | null = null;
      for (let page = 0; page < 10; page++) {
        const { body } = await reader.get(`/v1/orders?sort=${sort}&limit=2${next ? `&after=${next}` : ''}`);
        seen.push(...ids(body['data']));
        next = body['page'].next as string | null;
        expect(body['page'].hasMore).toBe(next !== null);
        if (!next) break;
        expect(body['data']).toHaveLength(2);
        await draft(reader, { lines: [{ productId: sencha, quantity: page % 2 === 0 ? 1 : 20 }] });
      }
      expect(new Set(seen).size).toBe(seen.length);
      expect(seen.filter((id) => before.has(id))).toEqual(expected(mine));
    });

    it('equal totals keep one order, page by page', async () => {
      const reader = await account(shop);
      for (let nth = 0; nth < 5; nth++) await draft(reader);
      const whole = ids((await reader.get('/v1/orders?sort=total')).body['data']);
      const first = await reader.get('/v1/orders?sort=total&limit=3');
      const rest = await reader.get(`/v1/orders?sort=total&limit=3&after=${first.body['page'].next}`);
      expect([...ids(first.body['data']), ...ids(rest.body['data'])]).toEqual(whole);
    });

    it('what is asked for is what comes', async () => {
      const find = async (filter: string, api = buyer) => ids(await api.all(`/v1/orders?sort=createdAt&${filter}`));
      expect(await find('reference=nr-3')).toEqual([made[2]]);
      expect(await find('reference=nr-0')).toEqual([]);
      expect(await find('currency=EUR&minTotalMinor=2500&maxTotalMinor=3750')).toEqual([made[1], made[2]]);
      expect(await find('currency=EUR&maxTotalMinor=1249')).toEqual([]);
      expect(await find('currency=USD')).toEqual([]);
      expect(await find(`customerId=${await idOf(buyer)}`, shop.admin)).toEqual(made);
      expect(await find(`customerId=${(await idOf(buyer)).toUpperCase()}`, shop.admin)).toEqual(made);
      const third = (await buyer.get(`/v1/orders/${made[2]}`)).body;
      const from = encodeURIComponent(third['createdAt'] as string);
      expect(await find(`createdFrom=${from}`)).toEqual(made.slice(2));
      expect(await find(`createdTo=${from}`)).toEqual(made.slice(0, 2));
      await buyer.post(`/v1/orders/${made[0]}/cancel`);
      expect(await find('status=cancelled')).toEqual([made[0]]);
      expect(await find('status=draft')).toEqual(made.slice(1));
      expect(await find('status=completed')).toEqual([]);
    });

    it('a customer finds their own, whoever they ask for', async () => {
      const other = await account(shop);
      expect(await other.all('/v1/orders')).toEqual([]);
      expect(await other.all(`/v1/orders?customerId=${await idOf(buyer)}`)).toEqual([]);
      expect(ids(await buyer.all(`/v1/orders?customerId=${await idOf(other)}`))).toEqual(made.toReversed());
    });

    it('a cursor of another order of the list is no place to begin at', async () => {
      const { next } = (await buyer.get('/v1/orders?sort=total&limit=2')).body['page'] as Row;
      expect((await buyer.get(`/v1/orders?sort=total&after=${next}`)).status).toBe(200);
      for (const sort of ['-total', 'createdAt', '-createdAt', 'orderedAt']) {
        const answer = await buyer.get(`/v1/orders?sort=${sort}&after=${next}`);
        expect(answer).toMatchObject({ status: 400, body: { code: 'cursor-malformed' } });
      }
    });

    it('totals are compared within a currency only', async () => {
      const [reader, readers] = [await account(shop), shop.admin];
      const customerId = await idOf(reader);
      const lines = (amountMinor: number, currency: string) => [
        { productId: tea, quantity: 1, unitPrice: { amountMinor, currency } },
      ];
      const prices = [
        [500, 'USD'],
        [100, 'EUR'],
        [100, 'USD'],
        [900, 'EUR'],
        [5, 'JPY'],
      ] as const;
      for (const [amount, currency] of prices) {
        await draft(readers, { customerId, lines: lines(amount, currency) });
      }
      const totals = async (query: string) =>
        (await reader.all(`/v1/orders?${query}`)).map(({ total }) => `${total.amountMinor} ${total.currency}`);
      expect(await totals('sort=total')).toEqual(['100 EUR', '900 EUR', '5 JPY', '100 USD', '500 USD']);
      expect(await totals('sort=-total')).toEqual(['500 USD', '100 USD', '5 JPY', '900 EUR', '100 EUR']);
      expect(await totals('sort=total&currency=USD&minTotalMinor=101')).toEqual(['500 USD']);
      for (const [path, filter] of [
        ['orders', 'minTotalMinor'],
        ['orders', 'maxTotalMinor'],
        ['products', 'minPriceMinor'],
        ['products', 'maxPriceMinor'],
      ]) {
        const answer = await reader.get(`/v1/${path}?${filter}=1`);
        const message = `${filter} needs currency as well: amounts in different currencies cannot be compared`;
        expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer: `/${filter}`, message }] } });
      }
    });
  });

  it('every list takes its own cursors only', async () => {
    const forged = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const paths = [
      '/v1/orders',
      '/v1/users',
      '/v1/products',
      '/v1/payments',
      '/v1/shipments',
      '/v1/operations/sagas',
      '/v1/operations/dead-letters',
      `/v1/products/${tea}/stock-movements`,
    ];
    const { body } = await draft(ada);
    paths.push(`/v1/orders/${body['id']}/events`, `/v1/orders/${body['id']}/timeline`);
    const malformed = ['x', '%00', 'null', forged(null), forged([]), forged({ 0: 'a' }), forged([null]), forged([[]])];
    malformed.push(forged(['-'.repeat(36)]), forged([1e300]), forged([0.5]), forged(['a', 'b']), forged([{}]));
    for (const path of paths) {
      for (const cursor of malformed) {
        const answer = await shop.admin.get(`${path}?after=${cursor}`);
        expect({ path, cursor, status: answer.status }).toEqual({ path, cursor, status: 400 });
        expect(answer.body['code']).toBe(cursor === '%00' ? 'unstorable-text' : 'cursor-malformed');
      }
      // well formed, and not ours
      for (const cursor of [forged([randomUUID()]), forged([9e15]), forged([3e9]), forged([-1])]) {
        expect([200, 400]).toContain((await shop.admin.get(`${path}?after=${cursor}`)).status);
      }
      for (const limit of ['0', '101', '-1', '1.5', 'ten', '', '1e9', 'NaN']) {
        expect((await shop.admin.get(`${path}?limit=${limit}`)).status).toBe(400);
      }
    }
  });

  it('every list goes on where the page before ended', async () => {
    const placed = await order(ada, {}, waiting);
    await order(ada, {}, waiting);
    await order(ada, { paymentMethod: 'sandbox_declined' }, waiting);
    for (const path of [
      '/v1/users',
      '/v1/products',
      '/v1/payments',
      '/v1/shipments',
      '/v1/operations/sagas',
      `/v1/products/${tea}/stock-movements`,
      `/v1/orders/${placed.body['id']}/events`,
      `/v1/orders/${placed.body['id']}/timeline`,
    ]) {
      const whole = (await shop.admin.get(`${path}?limit=100`)).body['data'] as Row[];
      const seen: Row[] = [];
      for (let after = ''; ;) {
        const { body } = await shop.admin.get(`${path}?limit=2${after && `&after=${after}`}`);
        seen.push(...(body['data'] as Row[]));
        if (!body['page'].hasMore) break;
        after = body['page'].next as string;
      }
      expect(whole.length).toBeGreaterThan(1);
      expect({ path, seen }).toEqual({ path, seen: whole });
    }
  });

  it('payments and shipments are found by their order and state', async () => {
    const placed = await order(ada, {}, waiting);
    const { id, paymentId, shipmentId } = placed.body as Record<string, string>;
    const payments = await shop.admin.get(`/v1/payments?orderId=${id}&status=completed`);
    expect(payments.body['data']).toMatchObject([
      { id: paymentId, orderId: id, amount: { amountMinor: 2500, currency: 'EUR' }, refunded: { amountMinor: 0 } },
    ]);
    expect((await shop.admin.get(`/v1/payments/${paymentId}`)).body).toEqual(payments.body['data'][0]);
    const shipments = await shop.admin.get(`/v1/shipments?orderId=${id}&status=created`);
    expect(shipments.body['data']).toMatchObject([{ id: shipmentId, orderId: id }]);
    expect((await shop.admin.get(`/v1/shipments/${shipmentId}`)).body).toEqual(shipments.body['data'][0]);
    expect((await shop.admin.get(`/v1/payments?orderId=${id}&status=refunded`)).body['data']).toEqual([]);
    expect((await shop.admin.get(`/v1/shipments?orderId=${id}&status=cancelled`)).body['data']).toEqual([]);
  });

  it('the catalogue is searched by text, price, sku and what is there, wildcards being letters', async () => {
    const skus = async (filter: string) =>
      (await ada.all(`/v1/products?${filter}`)).map((product) => product['sku'] as string);
    expect(await skus('text=tea')).toEqual(expect.arrayContaining(['TEA-EG-100', 'POT-CI-08']));
    expect(await skus('text=BERGAMOT')).toEqual(['TEA-EG-100']);
    expect(await skus('text=%25')).toEqual([]);
    expect(await skus('text=_')).toEqual([]);
    expect(await skus('text=%5C')).toEqual([]);
    expect(await skus(`text=${encodeURIComponent("' or 1=1 --")}`)).toEqual([]);
    expect(await skus('sku=LTD-001')).toEqual(['LTD-001']);
    expect(await skus('currency=EUR&minPriceMinor=5900&maxPriceMinor=9900')).toEqual(['LTD-001', 'POT-CI-08']);
    expect(await skus('available=false')).toEqual([]);
    expect(await skus('archived=true')).toEqual([]);
    expect(await skus('available=true')).toHaveLength(5);
  });

  describe('as staff', () => {
    it('orders for a customer, who finds it among theirs', async () => {
      const customerId = await idOf(ada);
      const placed = await order(staff, { customerId }, waiting);
      expect(placed.body).toMatchObject({ customerId, guest: null, status: 'fulfilling' });
      expect((await ada.get(`/v1/orders/${placed.body['id']}`)).body).toMatchObject({ id: placed.body['id'] });
    });

    it('orders for a customer whose id comes in capitals', async () => {
      const customerId = (await idOf(ada)).toUpperCase();
      const { body } = await draft(staff, { customerId });
      expect(await ada.post(`/v1/orders/${body['id']}/cancel`)).toMatchObject({ status: 202 });
    });

    it('orders for a guest, with a name, an address for mail, or neither', async () => {
      for (const guest of [{ name: 'Grace Hopper', email: 'grace@example.com' }, { name: 'Grace' }, {}]) {
        const placed = await order(staff, { guest }, waiting);
        expect(placed.body).toMatchObject({ customerId: null, guest, status: 'fulfilling' });
        expect(await ada.get(`/v1/orders/${placed.body['id']}`)).toMatchObject({ status: 404 });
      }
    });

    it('states prices, and when it was ordered', async () => {
      const orderedAt = '2019-12-24T18:00:00.000Z';
      const lines = [
        { productId: tea, quantity: 2, unitPrice: { amountMinor: 999, currency: 'EUR' } },
        { productId: teapot, quantity: 1 },
      ];
      const placed = await order(staff, { lines, orderedAt, reference: 'till-7', guest: {} }, waiting);
      expect(placed.body).toMatchObject({
        status: 'fulfilling',
        orderedAt,
        reference: 'till-7',
        total: { amountMinor: 2 * 999 + 5900 },
      });
      expect(Date.parse(placed.body['createdAt'] as string)).toBeGreaterThan(Date.now() - 60_000);
      const [oldest] = (await shop.admin.get('/v1/orders?sort=orderedAt&limit=1')).body['data'];
      expect(oldest.id).toBe(placed.body['id']);
    });

    it('gives things away', async () => {
      const lines = [{ productId: tea, quantity: 1, unitPrice: { amountMinor: 0, currency: 'EUR' } }];
      const placed = await order(staff, { lines }, waiting);
      expect(placed.body).toMatchObject({ status: 'fulfilling', total: { amountMinor: 0 } });
    });

    it('does not order in the future', async () => {
      const orderedAt = new Date(Date.now() + 3_600_000).toISOString();
      expect(await staff.post('/v1/orders', { orderedAt })).toMatchObject({ status: 400 });
    });

    it('changes a customer’s draft', async () => {
      const { body } = await draft(ada);
      const price = { productId: sencha, quantity: 1, unitPrice: { amountMinor: 1, currency: 'EUR' } };
      expect(await staff.post(`/v1/orders/${body['id']}/lines`, price)).toMatchObject({
        status: 201,
        body: { total: { amountMinor: 2501 } },
      });
      expect(await staff.put(`/v1/orders/${body['id']}/shipping-address`, address)).toMatchObject({ status: 200 });
    });

    it('may do what a customer may not', async () => {
      const [other] = await accountsOf(shop, 1);
      const line = { productId: tea, quantity: 1, unitPrice: { amountMinor: 1, currency: 'EUR' } };
      for (const [member, value] of Object.entries({
        customerId: await idOf(other!),
        guest: { name: 'Eve' },
        orderedAt: '2019-12-24T18:00:00.000Z',
        lines: [line],
      })) {
        const answer = await ada.post('/v1/orders', { [member]: value });
        expect({ member, status: answer.status, code: answer.body['code'] }).toEqual({
          member,
          status: 403,
          code: 'staff-only',
        });
      }
      const { body } = await draft(ada);
      expect(await ada.post(`/v1/orders/${body['id']}/lines`, line)).toMatchObject({ status: 403 });
      expect((await draft(ada, { customerId: await idOf(ada) })).status).toBe(201);
    });
  });

  describe('as an administrator', () => {
    it('gives roles and takes them, but not the last administrator’s', async () => {
      const id = await idOf(shop.admin);
      const last = { status: 409, body: { code: 'last-admin' } };
      expect(await shop.admin.put(`/v1/users/${id}/roles`, { roles: ['customer'] })).toMatchObject(last);
      expect(await shop.admin.post(`/v1/users/${id}/deactivate`)).toMatchObject(last);
      const second = await account(shop, ['admin']);
      const one = shop.admin.put(`/v1/users/${await idOf(second)}/roles`, { roles: ['customer'] });
      const other = second.post(`/v1/users/${id}/deactivate`);
      const statuses = (await Promise.all([one, other])).map(({ status }) => status);
      expect(statuses.sort()).toEqual([200, 409]);
      // whoever won, somebody is left
      const admins = await query(shop, `select 1 from users.users where 'admin' = any(roles) and status = 'active'`);
      expect(admins).toHaveLength(1);
    });
  });

  it('leaves the books in order', () => expectBooksInOrder(shop));
});
