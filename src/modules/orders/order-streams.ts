import { Injectable } from '@nestjs/common';
import { AggregateStore } from '../../kernel/event-store/aggregate-store';
import { EventStore } from '../../kernel/event-store/event-store';
import './order-upcasters';
import { type Order, type OrderCommand, orderDecider, type OrderEvent } from './domain/order';

@Injectable()
export class OrderStreams extends AggregateStore<Order, OrderCommand, OrderEvent> {
  constructor(events: EventStore) {
    super(orderDecider, events);
  }
}

/** What a command on an order answers: what to read back, and at which version at least. */
export interface OrderVersion {
  readonly orderId: string;
  readonly version: number;
}
