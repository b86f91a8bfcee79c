import { EventType } from '../../../kernel/event-store/event-type';

/** Amounts are integer minor units of `currency`. */
@EventType('payment.requested')
export class PaymentRequested {
  constructor(
    readonly paymentId: string,
    readonly orderId: string,
    readonly amountMinor: number,
    readonly currency: string,
    readonly method: string,
  ) {}
}

/** The provider is about to be asked for the first time: from now on it may have taken the money. */
@EventType('payment.attempted')
export class PaymentAttempted {
  constructor(
    readonly paymentId: string,
    readonly orderId: string,
  ) {}
}

/** The money is ours. */
@EventType('payment.completed')
export class PaymentCompleted {
  constructor(
    readonly paymentId: string,
    readonly orderId: string,
    readonly amountMinor: number,
    readonly currency: string,
    readonly providerReference: string,
  ) {}
}

/** Nothing was taken, and nothing will be. `code` is the provider's, e.g. `card_declined`. */
@EventType('payment.failed')
export class PaymentFailed {
  constructor(
    readonly paymentId: string,
    readonly orderId: string,
    readonly code: string,
    readonly message: string,
  ) {}
}

/**
 * Called off before it was known whether anything was taken. One that was never attempted ends with it; of one that was, the
 * provider is asked what became of it, and what was taken is refunded.
 */
@EventType('payment.voided')
export class PaymentVoided {
  constructor(
    readonly paymentId: string,
    readonly orderId: string,
  ) {}
}

/** The money was given back. */
@EventType('payment.refunded')
export class PaymentRefunded {
  constructor(
    readonly paymentId: string,
    readonly orderId: string,
    readonly amountMinor: number,
    readonly currency: string,
    readonly providerReference: string,
  ) {}
}
