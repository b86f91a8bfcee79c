import { SetMetadata } from '@nestjs/common';
import { EventsHandler, type IEventHandler } from '@nestjs/cqrs';
import { type EventClass, eventTypeOf } from '../event-store/event-type';

export interface ReactionOptions {
  /** Stored for ever as the name of its checkpoint: `context.what-it-does`. */
  readonly name: string;
  /**
   * Payload member whose value keeps events in order among themselves, e.g. `orderId` to hear of one order from
   * several aggregates in the order in which it happened. Default: the aggregate.
   */
  readonly partitionBy?: string;
  /** Shares that several processes can run side by side; settled when it first starts. Default: 1. */
  readonly segments?: number;
  /**
   * Raised when it no longer handles a type of event that it handled before; 1. Otherwise processes that do not handle that
   * type leave the reaction to those that do.
   */
  readonly version?: number;
}

export interface ReactionMetadata extends ReactionOptions {
  readonly version: number;
  readonly events: ReadonlyMap<string, EventClass>;
}

export interface Handler extends IEventHandler<object> {
  handle(event: object): unknown;
}

export const REACTION = 'kernel:reaction';

/**
 * An `@EventsHandler` fed from the log: at least once, in order within its partition, awaited, retried, and kept as a
 * dead letter when nothing helps. Commands that it sends through the kernel carry ids derived from the event, so
 * that a repeat of the event repeats no effect.
 */
export function Reaction(options: ReactionOptions, ...events: [EventClass, ...EventClass[]]): ClassDecorator {
  const metadata: ReactionMetadata = {
    version: 1,
    ...options,
    events: new Map(events.map((event) => [eventTypeOf(event), event])),
  };
  return (target) => {
    EventsHandler(...(events as unknown as (new () => object)[]))(target);
    SetMetadata(REACTION, metadata)(target);
  };
}
