import type { Answer, Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { account, address, anOrder, idOf, order, type Row, tea } from './shop';

describe('being told what is wrong', () => {
  let shop: TestApp;
  let ada: Api;
  let staff: Api;

  beforeAll(async () => {
    shop = await startApp();
    [ada, staff] = await Promise.all([account(shop), account(shop, ['customer', 'staff'])]);
  });
  afterAll(() => shop.close());

  const errorsOf = ({ status, body }: Answer) => ({ status, errors: body['errors'] as unknown });
  const refused = (pointer: string, message: string) => ({ status: 400, errors: [{ pointer, message }] });

  it('of a country that ISO 3166 does not have', async () => {
    const message = 'countryCode must be the two capital letters of a country in ISO 3166-1, such as GB';
    const to = (countryCode: unknown) => anOrder({ submit: false, shippingAddress: { ...address, countryCode } });
    for (const code of ['XX', 'EU', 'UK', 'gb', 'GBR', '826', 'A', '', 'ＧＢ', 1]) {
      expect(errorsOf(await ada.post('/v1/orders', to(code)))).toEqual(
        refused('/shippingAddress/countryCode', message),
      );
    }
    for (const code of ['GB', 'DE', 'AQ', 'XK', 'TW'])
      expect((await ada.post('/v1/orders', to(code))).status).toBe(201);
  });

  it('of an unknown country, which only staff may enter, as the importer does', async () => {
    const shippingAddress = { ...address, countryCode: 'ZZ' };
    const wanted = anOrder({ submit: false, shippingAddress });
    const code = { status: 403, body: { code: 'staff-only', detail: 'Only staff may give countryCode ZZ.' } };
    expect(await ada.post('/v1/orders', wanted)).toMatchObject(code);
    const { body } = await order(ada, { submit: false });
    expect(await ada.put(`/v1/orders/${body['id']}/shipping-address`, shippingAddress)).toMatchObject(code);
    expect((await staff.post('/v1/orders', wanted)).status).toBe(201);
  });

  it('of a currency that ISO 4217 does not have', async () => {
    const message = 'currency must be the three capital letters of a currency in ISO 4217, such as EUR';
    const at = (currency: unknown) => [{ productId: tea, quantity: 1, unitPrice: { amountMinor: 100, currency } }];
    for (const code of ['ZZZ', 'ABC', 'eur', 'EU', 'EURO', '978', '', 978]) {
      const answer = await staff.post('/v1/orders', anOrder({ submit: false, lines: at(code) }));
      expect(errorsOf(answer)).toEqual(refused('/lines/0/unitPrice/currency', message));
      const price = { amountMinor: 100, currency: code };
      const product = await staff.post('/v1/products', { sku: 'CUR', name: 'x', price });
      expect(errorsOf(product)).toEqual(refused('/price/currency', message));
      if (typeof code !== 'string' || code === '') continue;
      expect(errorsOf(await staff.get(`/v1/orders?currency=${code}`))).toEqual(refused('/currency', message));
    }
    for (const code of ['EUR', 'JPY', 'BHD', 'ZWG']) {
      expect((await staff.post('/v1/orders', anOrder({ submit: false, lines: at(code) }))).status).toBe(201);
    }
  });

  it('of members that contradict each other', async () => {
    const customerId = await idOf(ada);
    const both = await staff.post('/v1/orders', anOrder({ customerId, guest: { name: 'Grace' } }));
    expect(errorsOf(both)).toEqual(
      refused(
        '/guest',
        'guest cannot be given together with customerId: an order is placed by an account or by a guest',
      ),
    );
    const { id } = (await order(ada, { submit: false })).body as Row;
    expect(errorsOf(await ada.get(`/v1/orders/${id}?version=1&asOf=2026-01-31T12:00:00Z`))).toEqual(
      refused('/asOf', 'asOf cannot be given together with version: an order is shown as it was at one of them'),
    );
    for (const [command, message] of [
      [{ action: 'cancel', quantity: 2 }, 'action cancel does not take quantity'],
      [{ action: 'submit', reason: 'x', productId: tea }, 'action submit does not take productId, reason'],
    ] as const) {
      const answer = await ada.post(`/v1/orders/${id}/simulate`, { commands: [command] });
      expect(errorsOf(answer)).toEqual(refused('/commands/0/action', message));
    }
    // every object of JavaScript has these
    for (const action of ['constructor', '__proto__', 'toString']) {
      const commands = [{ action, quantity: 1 }];
      expect((await ada.post(`/v1/orders/${id}/simulate`, { commands })).status).toBe(400);
    }
    // null is what leaving out is
    const one = await staff.post('/v1/orders', anOrder({ submit: false, customerId, guest: null }));
    expect(one).toMatchObject({ status: 201, body: { customerId, guest: null } });
    const other = anOrder({ submit: false, customerId: null, guest: { name: 'Grace' } });
    expect((await staff.post('/v1/orders', other)).status).toBe(201);
  });
});
