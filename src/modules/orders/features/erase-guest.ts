import { Command, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DomainError } from '../../../kernel/domain-error';
import { EventStore } from '../../../kernel/event-store/event-store';
import { PersonalData } from '../../../kernel/personal-data/personal-data';
import type { By } from '../domain/order';
import { OrderStreams } from '../order-streams';

/**
 * Of whoever ordered as a guest nothing stays but what was ordered. An order that has not left is cancelled.
 *
 * @throws DomainError `not-a-guest` (conflict)
 */
export class EraseGuest extends Command<void> {
  constructor(
    readonly orderId: string,
    readonly by: By,
  ) {
    super();
  }
}

@CommandHandler(EraseGuest)
export class EraseGuestHandler implements ICommandHandler<EraseGuest> {
  constructor(
    private readonly orders: OrderStreams,
    private readonly events: EventStore,
    private readonly personalData: PersonalData,
  ) {}

  async execute({ orderId, by }: EraseGuest): Promise<void> {
    const { state: order } = await this.orders.loadFor(by, orderId);
    if (order.customer.kind !== 'guest') {
      throw new DomainError('conflict', 'not-a-guest', 'An account placed this order: erase that one.');
    }
    try {
      await this.orders.decide(orderId, { type: 'cancel', by, reason: 'The guest was erased.' });
    } catch (error) {
      if (!(error instanceof DomainError) || error.code !== 'order-shipped') throw error;
    }
    // After it: broken off in between, it is done again as a whole.
    await this.events.transaction(async (manager) => {
      await this.personalData.erase(orderId, manager);
      return { result: undefined, announce: [] };
    });
  }
}
