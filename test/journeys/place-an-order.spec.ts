import { type Answer } from '../support/api';
import { startApp, type TestApp } from '../support/app';

const tea = '00000000-0000-7000-8000-000000000001';
const address = { name: 'Ada Lovelace', line1: '12 St James’s Square', city: 'London', countryCode: 'GB' };

describe('placing an order', () => {
  let shop: TestApp;

  beforeAll(async () => {
    shop = await startApp();
  });
  afterAll(() => shop.close());

  const types = async (order: Answer) =>
    (await shop.admin.all(`/v1/orders/${order.body['id']}/timeline`)).map((entry) => entry['type'] as string);

  it('reserves, charges and books a parcel, in this order', async () => {
    const ada = await shop.customer();
    const order = await ada.post('/v1/orders', {
      lines: [{ productId: tea, quantity: 2 }],
      shippingAddress: address,
      paymentMethod: 'sandbox_ok',
      submit: true,
    });
    expect(order.status).toBe(202);
    await shop.settled();
    const { body } = await ada.get(`/v1/orders/${order.body['id']}`);
    expect(body).toMatchObject({ status: 'fulfilling', paymentStatus: 'paid', fulfilmentStatus: 'created' });
    const story = (await types(order)).filter((type) => !type.startsWith('saga.'));
    expect(story).toEqual([
      'order.created',
      'order.submitted',
      'stock.reserved',
      'order.reserved',
      'payment.requested',
      'payment.completed',
      'order.paid',
      'shipment.created',
      'order.fulfilling',
    ]);
  });
});
