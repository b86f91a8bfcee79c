import type { IEventHandler } from '@nestjs/cqrs';
import { EventType } from '../../kernel/event-store/event-type';
import { Reaction } from '../../kernel/subscriptions/reaction';
import { Stock } from './stock';

/** What products needs to know of it; the stored name is the contract, so orders need not be imported. */
@EventType('order.cancelled')
class OrderCancelled {
  constructor(readonly orderId: string) {}
}

@EventType('shipment.dispatched')
class ShipmentDispatched {
  constructor(readonly orderId: string) {}
}

/** Whatever is still reserved for a cancelled order goes back on the shelf. */
@Reaction({ name: 'products.release-cancelled', partitionBy: 'orderId' }, OrderCancelled)
export class ReleaseCancelled implements IEventHandler<OrderCancelled> {
  constructor(private readonly stock: Stock) {}

  handle({ orderId }: OrderCancelled): Promise<void> {
    return this.stock.endAllOf(orderId, 'released');
  }
}

/** What the carrier took is no longer on hand. */
@Reaction({ name: 'products.commit-dispatched', partitionBy: 'orderId' }, ShipmentDispatched)
export class CommitDispatched implements IEventHandler<ShipmentDispatched> {
  constructor(private readonly stock: Stock) {}

  handle({ orderId }: ShipmentDispatched): Promise<void> {
    return this.stock.endAllOf(orderId, 'committed');
  }
}
