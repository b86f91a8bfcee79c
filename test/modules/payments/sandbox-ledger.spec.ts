import { Client } from 'pg';
import { Resilience } from '../../../src/kernel/resilience/policies';
import { startApp, type TestApp } from '../../support/app';

const tea = '00000000-0000-7000-8000-000000000001';

describe('the ledger of the sandbox provider', () => {
  let shop: TestApp;
  let tester: Client;

  beforeAll(async () => {
    shop = await startApp();
    tester = new Client({ connectionString: shop.databaseUrl });
    await tester.connect();
  });
  afterAll(async () => {
    await tester.end();
    await shop.close();
  });

  it('does not open the circuit breaker of the provider while the database holds it up', async () => {
    const breaker = shop.app.get(Resilience, { strict: false }).breaker('payment-provider')!;
    await tester.query('begin; lock table payments.sandbox_ledger in access exclusive mode');
    const order = {
      lines: [{ productId: tea, quantity: 1 }],
      shippingAddress: { name: 'Ada', line1: 'St James’s Square 12', city: 'London', countryCode: 'GB' },
      paymentMethod: 'sandbox_ok',
      submit: true,
    };
    const failed = new Promise<void>((resolve) => {
      let calls = 0;
      // as many as would open it
      const listening = breaker.onFailure(() => ++calls === 8 && (listening.dispose(), resolve()));
    });
    const placed = await Promise.all(Array.from({ length: 8 }, () => shop.admin.post('/v1/orders', order)));
    await failed;
    expect(breaker.state).toBe('CLOSED');

    await tester.query('rollback');
    await shop.settled();
    const shown = await Promise.all(placed.map(({ body }) => shop.admin.get(`/v1/orders/${body.id}`)));
    expect(shown.map(({ body }) => body.status)).toEqual(Array.from({ length: 8 }, () => 'fulfilling'));
  });
});
