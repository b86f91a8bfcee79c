import { EventType } from '../../../kernel/event-store/event-type';

/** The customer wants it: from here on it is carried out. Amounts are integer minor units. */
@EventType('order.submitted')
export class OrderSubmitted {
  constructor(
    readonly orderId: string,
    readonly totalMinor: number,
    readonly currency: string,
    /** May be missing if nothing is to be paid. */
    readonly paymentMethod?: string,
  ) {}
}

/** The customer has it, and everything is paid. */
@EventType('order.completed')
export class OrderCompleted {
  constructor(readonly orderId: string) {}
}

/** It came to nothing, and what had been done for it has been taken back. */
@EventType('order.cancelled')
export class OrderCancelled {
  constructor(
    readonly orderId: string,
    readonly reason: string,
    /** The step of fulfilment that failed, if one did, e.g. `processPayment`. */
    readonly step?: string,
    /** Why, for programs, e.g. `card_declined`. */
    readonly code?: string,
  ) {}
}
