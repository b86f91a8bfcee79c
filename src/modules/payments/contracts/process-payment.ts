import { Command } from '@nestjs/cqrs';

/**
 * Asks for an order's money. The answer is an event: `payment.completed` or `payment.failed`, now or much later.
 * There is one payment an order, so a repeat changes nothing.
 *
 * @throws DomainError `payment-voided` (conflict) when it was called off before
 */
export class ProcessPayment extends Command<{ paymentId: string }> {
  constructor(
    readonly orderId: string,
    /** Integer minor units. */
    readonly amountMinor: number,
    readonly currency: string,
    /** The provider's token for the customer's means of payment. */
    readonly method: string,
  ) {
    super();
  }
}

/** Gives back what was taken for an order, and keeps anything more from being taken; safe when nothing was. */
export class RefundPayment extends Command<void> {
  constructor(readonly orderId: string) {
    super();
  }
}
