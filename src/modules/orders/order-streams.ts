import { Injectable } from '@nestjs/common';
import { currentContext } from '../../kernel/context';
import { AggregateStore, type Decided } from '../../kernel/event-store/aggregate-store';
import { ContentionError, VersionMismatch } from '../../kernel/event-store/errors';
import { domainEvent } from '../../kernel/event-store/event';
import { EventStore } from '../../kernel/event-store/event-store';
import './order-upcasters';
import {
  assertMay,
  type By,
  type Order,
  type OrderCommand,
  orderDecider,
  type OrderEvent,
  unknownOrder,
} from './domain/order';
import type { Line } from './domain/lines';

const attempts = 10;

export type PricesChanged = Extract<OrderEvent, { type: 'order.prices-changed' }>;

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

  /**
   * Decides on what `prepare` looks up for the order as it stands, such as the prices of its products; looked up and
   * decided again when the order has changed in between.
   *
   * @throws DomainError `order-unknown`, and whatever `prepare` and `decide` throw
   */
  async decideOn(
    by: By,
    orderId: string,
    prepare: (order: KnownOrder) => Promise<OrderCommand>,
    expectedVersion?: number,
  ): Promise<OrderVersion> {
    const repeat = currentContext().repeatable();
    for (let attempt = 1; attempt <= attempts; attempt++) {
      const { state, version: seen } = await this.loadFor(by, orderId);
      const command = await prepare(state);
      try {
        const options = { expectedVersion: expectedVersion ?? seen };
        const { version } = await repeat(() => this.decide(orderId, command, options));
        // a repeated request gets the first response, although it changes nothing
        const last = version > seen ? version : await repeat(() => this.carriedOut(orderId, command.type));
        return {
          orderId,
          version,
          pricesChanged: last === undefined ? undefined : await this.pricesChangedUpTo(orderId, last),
        };
      } catch (error) {
        if (expectedVersion !== undefined || !(error instanceof VersionMismatch)) throw error;
      }
    }
    throw new ContentionError('Too many changes to this order at once. Try again shortly.');
  }

  /** What the command whose last event has this version did to the prices. */
  private async pricesChangedUpTo(orderId: string, version: number): Promise<PricesChanged | undefined> {
    // at most two events: of the line, or of the submission, and of the prices
    const events = await this.events.getEvents(orderId, Math.max(version - 1, 1), 2);
    const last = events.at(-1);
    const found = events.find(
      ({ eventType, metadata }) =>
        eventType === 'order.prices-changed' && metadata.commandId === last?.metadata.commandId,
    );
    return found && domainEvent<PricesChanged>(found);
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
  /** What it did to the prices of a draft. */
  readonly pricesChanged?: PricesChanged;
}
