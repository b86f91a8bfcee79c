import { toCurrent } from '../../../src/kernel/event-store/upcasting';
import '../../../src/modules/orders/order-upcasters';

/** As they were stored. */
const guests = {
  orderId: '0198c2f0-0000-7000-8000-000000000001',
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
