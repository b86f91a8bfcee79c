import { Injectable } from '@nestjs/common';
import { AggregateStore, type Decided } from '../../kernel/event-store/aggregate-store';
import { EventStore } from '../../kernel/event-store/event-store';
import './order-upcasters';
import {
  assertMay,
  type By,
  type Line,
  type Order,
  type OrderCommand,
  orderDecider,
  type OrderEvent,
  unknownOrder,
} from './domain/order';

export type KnownOrder = Exclude<Order, { status: 'none' }>;

@Injectable()
export class OrderStreams extends AggregateStore<Order, OrderCommand, OrderEvent> {
  constructor(events: EventStore) {
    super(orderDecider, events);
  }

  /**
   * An order that the caller may see. A feature that looks anything else up loads the order first, so that nobody
   * learns anything by way of another customer's order.
   *
   * @throws DomainError `order-unknown` when there is none, or it is not theirs
   */
  async loadFor(by: By, orderId: string): Promise<Decided<KnownOrder>> {
    const found = await this.find(orderId);
    if (!found || found.state.status === 'none') throw unknownOrder();
    assertMay(by, found.state);
    return { state: found.state, version: found.version };
  }

  /** For a request that finds the line which it was about to add. @throws DuplicateCommandError */
  async assertAddedByThisRequest(orderId: string, lineId: string): Promise<void> {
    const added = (await this.events.getEvents(orderId)).find(
      ({ payload }) => (payload['line'] as Line | undefined)?.lineId === lineId,
    );
    // a line that the order was made with is of no request of its own
    if (added) this.events.assertSameRequest(added);
  }
}

/** What a command on an order answers: what to read back, and at which version at least. */
export interface OrderVersion {
  readonly orderId: string;
  readonly version: number;
}
