import { startApp, type TestApp } from '../support/app';
import type { Api } from '../support/api';
import { address, order, sencha, tea, waiting } from './shop';

describe('looking back, and ahead', () => {
  let shop: TestApp;
  let ada: Api;
  let id: string;

  beforeAll(async () => {
    shop = await startApp();
    ada = await shop.customer();
    const placed = await order(ada, {}, waiting);
    id = placed.body['id'] as string;
    await shop.settled();
  });
  afterAll(() => shop.close());

  const at = (query: string) => ada.get(`/v1/orders/${id}?${query}`);

  it('shows an order as it was after any of its events', async () => {
    expect((await at('version=1')).body).toMatchObject({ status: 'draft', version: 1, paymentStatus: 'none' });
    expect((await at('version=2')).body).toMatchObject({ status: 'submitted', version: 2, fulfilmentStatus: 'none' });
    const now = (await ada.get(`/v1/orders/${id}`)).body;
    expect((await at(`version=${now.version}`)).body).toEqual(now);
  });

  it('shows it as it was known at an instant, with what other modules knew of it then', async () => {
    const timeline = await ada.all(`/v1/orders/${id}/timeline`);
    const requested = timeline.find(({ type }) => type === 'payment.requested');
    const paid = timeline.find(({ type }) => type === 'payment.completed');
    expect((await at(`asOf=${requested.at}`)).body.paymentStatus).not.toBe('none');
    if (requested.at !== paid.at) {
      expect((await at(`asOf=${requested.at}`)).body).toMatchObject({ paymentStatus: 'requested' });
    }
    expect((await at(`asOf=${new Date().toISOString()}`)).body).toEqual((await ada.get(`/v1/orders/${id}`)).body);
  });

  it('knows no past that was not, and none of somebody else’s order', async () => {
    expect(await at('version=99')).toMatchObject({ status: 404, body: { code: 'version-unknown' } });
    expect(await at('asOf=2001-01-01T00:00:00Z')).toMatchObject({ status: 404, body: { code: 'version-unknown' } });
    expect(await at('version=1&asOf=2030-01-01T00:00:00Z')).toMatchObject({ status: 400 });
    expect(await at('version=0')).toMatchObject({ status: 400 });
    const eve = await shop.customer('Eve');
    expect(await eve.get(`/v1/orders/${id}?version=1`)).toMatchObject({ status: 404, body: { code: 'order-unknown' } });
  });

  describe('what would be', () => {
    let draft: string;
    beforeAll(async () => {
      const { body } = await ada.post('/v1/orders', { lines: [{ productId: tea, quantity: 1 }] });
      draft = body.id;
    });
    const simulate = (commands: object[], who = ada) => who.post(`/v1/orders/${draft}/simulate`, { commands });

    it('is told, one command after the other, with what would be refused and why', async () => {
      const { status, body } = await simulate([
        { action: 'addLine', productId: sencha, quantity: 2 },
        { action: 'submit', paymentMethod: 'sandbox_ok' },
        { action: 'setShippingAddress', address },
        { action: 'submit', paymentMethod: 'sandbox_ok' },
        { action: 'cancel' },
      ]);
      expect(status).toBe(200);
      expect(
        body.results.map(
          ({ refusal, events }: { refusal?: { code: string }; events: { type: string }[] }) =>
            refusal?.code ?? events.map(({ type }) => type).join(),
        ),
      ).toEqual([
        'order.item-added',
        'address-missing',
        'order.shipping-address-set',
        'order.submitted',
        'order.cancellation-requested',
      ]);
      expect(body).toMatchObject({ status: 'cancelling', total: { amountMinor: 1250 + 2 * 1690, currency: 'EUR' } });
    });

    it('changes nothing', async () => {
      const before = await ada.get(`/v1/orders/${draft}`);
      await simulate([{ action: 'cancel', reason: 'just asking' }]);
      expect((await ada.get(`/v1/orders/${draft}`)).body).toEqual(before.body);
    });

    it('is asked for with what each command needs', async () => {
      expect(await simulate([{ action: 'addLine', quantity: 2 }])).toMatchObject({ status: 400 });
      expect(await simulate([{ action: 'fly' }])).toMatchObject({ status: 400 });
      expect(await simulate([])).toMatchObject({ status: 400 });
    });

    it('is nobody else’s business', async () => {
      const eve = await shop.customer('Eve2');
      expect(await simulate([{ action: 'submit' }], eve)).toMatchObject({ status: 404 });
    });
  });
});
