import { EventType } from '../../../kernel/event-store/event-type';

/** Stock was set aside for an order. */
@EventType('stock.reserved')
export class StockReserved {
  constructor(
    readonly reservationId: string,
    readonly orderId: string,
    readonly lines: readonly { readonly productId: string; readonly quantity: number }[],
  ) {}
}

/** It was given back. */
@EventType('stock.released')
export class StockReleased {
  constructor(
    readonly reservationId: string,
    readonly orderId: string,
  ) {}
}

/** Some of what is reserved for the order is written off: it cannot be carried out any more. */
@EventType('stock.withdrawn')
export class StockWithdrawn {
  constructor(
    readonly reservationId: string,
    readonly orderId: string,
    readonly productId: string,
    readonly sku: string,
    readonly quantity: number,
    readonly reason: string,
  ) {}
}

/** It has been shipped all the same, so nothing of it is written off. */
@EventType('stock.withdrawal-lapsed')
export class StockWithdrawalLapsed {
  constructor(
    readonly reservationId: string,
    readonly orderId: string,
    readonly productId: string,
    readonly sku: string,
    readonly quantity: number,
    readonly reason: string,
  ) {}
}

/** It left the house. */
@EventType('stock.committed')
export class StockCommitted {
  constructor(
    readonly reservationId: string,
    readonly orderId: string,
  ) {}
}
