import { Command, CommandHandler, type ICommandHandler, QueryBus } from '@nestjs/cqrs';
import type { By } from '../domain/order';
import { type KnownOrder, OrderStreams, type OrderVersion } from '../order-streams';
import { offersFor } from './offers';

/**
 * Draft only. Updates the prices of all its lines. Without a quantity the line is removed.
 *
 * @throws DomainError `unavailable` (conflict), `mixed-currency` (invalid)
 */
export class ChangeLine extends Command<OrderVersion> {
  constructor(
    readonly orderId: string,
    readonly by: By,
    readonly lineId: string,
    readonly quantity: number | undefined,
    readonly expectedVersion?: number,
  ) {
    super();
  }
}

@CommandHandler(ChangeLine)
export class ChangeLineHandler implements ICommandHandler<ChangeLine> {
  constructor(
    private readonly orders: OrderStreams,
    private readonly queries: QueryBus,
  ) {}

  execute({ orderId, by, lineId, quantity, expectedVersion }: ChangeLine): Promise<OrderVersion> {
    const prepare = async (order: KnownOrder) => {
      const offers = await offersFor(this.queries, order);
      if (quantity === undefined) return { type: 'remove-line', by, lineId, offers } as const;
      return { type: 'change-line', by, lineId, quantity, offers } as const;
    };
    return this.orders.decideOn(by, orderId, prepare, expectedVersion);
  }
}
