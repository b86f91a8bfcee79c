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

/** It left the house. */
@EventType('stock.committed')
export class StockCommitted {
  constructor(
    readonly reservationId: string,
    readonly orderId: string,
  ) {}
}
