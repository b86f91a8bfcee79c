import { upcast } from '../../kernel/event-store/upcasting';
import { withoutTechnicalText } from '../../kernel/sagas/saga-failure';

/** Version 1 had what is known of a guest, in the clear, among the members of `customer`; version 2 has one, sealed. */
upcast('order.created', ({ customer, ...rest }) => {
  const { kind, userId, ...person } = customer as { kind: string; userId?: string };
  return { ...rest, customer: kind === 'guest' ? { kind, person } : { kind, userId } };
});

/** Version 1 had the text of whatever error ended the fulfilment. A reason without a code is a person's own words. */
upcast('order.cancelled', (event) => {
  const { code, reason } = event as { code?: string; reason: string };
  if (code === undefined) return { ...event };
  const { code: kept, message } = withoutTechnicalText({ code, message: reason });
  return { ...event, code: kept, reason: message };
});
