import { upcast } from '../../kernel/event-store/upcasting';

/** Version 1 had what is known of a guest, in the clear, among the members of `customer`; version 2 has one, sealed. */
upcast('order.created', ({ customer, ...rest }) => {
  const { kind, userId, ...person } = customer as { kind: string; userId?: string };
  return { ...rest, customer: kind === 'guest' ? { kind, person } : { kind, userId } };
});
