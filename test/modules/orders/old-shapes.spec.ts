import { toCurrent } from '../../../src/kernel/event-store/upcasting';
import '../../../src/modules/orders/order-upcasters';

/** As they were stored. */
const orderId = '0198c2f0-0000-7000-8000-000000000001';
const guests = {
  orderId,
  customer: { kind: 'guest', name: 'Grace Hopper', email: 'grace@example.com' },
  currency: 'EUR',
  lines: [],
  orderedAt: '2026-11-15T09:30:00.000Z',
  shippingAddress: { name: 'Grace Hopper', line1: '1 Navy Yard', city: 'Arlington', countryCode: 'US' },
};
const customers = { ...guests, customer: { kind: 'account', userId: '0198c2f0-0000-7000-8000-00000000000a' } };

describe('order.created of version 1', () => {
  it('had what is known of a guest among the members of the customer', () => {
    expect(toCurrent('order.created', 1, guests)).toEqual({
      ...guests,
      customer: { kind: 'guest', person: { name: 'Grace Hopper', email: 'grace@example.com' } },
    });
  });

  it('is the same for an account', () => {
    expect(toCurrent('order.created', 1, customers)).toEqual(customers);
  });

  it('is left alone in version 2', () => {
    const today = { ...guests, customer: { kind: 'guest', person: { person: 'p', sealed: 's', members: [] } } };
    expect(toCurrent('order.created', 2, today)).toEqual(today);
  });
});

describe('order.cancelled of version 1', () => {
  const failed = { orderId, step: 'createShipment' };

  it.each([
    ['QueryFailedError', 'relation "shipping.shipments" does not exist', 'technical-failure'],
    ['error', 'no pg_hba.conf entry for host "10.0.3.7"', 'technical-failure'],
    ['unknown', 'carrier-7.internal', 'technical-failure'],
    ['CallTimeoutError', '"carrier" gave no answer within 5000 ms', 'timeout'],
    ['CircuitBreakerOpenError', 'Circuit breaker "carrier" is open; retry after 812 ms', 'unavailable'],
  ])('had the text of a %s, which is replaced', (code, reason, newCode) => {
    const event = toCurrent('order.cancelled', 1, { ...failed, code, reason });
    expect(event).toEqual({ ...failed, code: newCode, reason: expect.not.stringContaining(reason) });
  });

  it.each([
    { ...failed, code: 'shipment-refused', reason: 'The sandbox carrier does not go to Antarctica.' },
    { ...failed, code: 'card_declined', reason: 'The card was declined.' },
    { orderId, reason: 'Error: I ordered the wrong one' },
  ])('is the same for a refusal and for a person: $reason', (event) => {
    expect(toCurrent('order.cancelled', 1, event)).toEqual(event);
  });

  it('is left alone in version 2', () => {
    const today = { ...failed, code: 'SomeCode', reason: 'as it is' };
    expect(toCurrent('order.cancelled', 2, today)).toEqual(today);
  });
});
