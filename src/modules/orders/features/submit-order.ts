import { Command, CommandHandler, type ICommandHandler, QueryBus } from '@nestjs/cqrs';
import { DomainError } from '../../../kernel/domain-error';
import { GetUser } from '../../users/contracts/get-user';
import type { By, ExpectedTotal } from '../domain/order';
import { type KnownOrder, OrderStreams, type OrderVersion } from '../order-streams';
import { offersFor } from './offers';

/**
 * Updates the prices of all lines and starts fulfilment.
 *
 * @throws DomainError `customer-inactive`, `unavailable`, `price-changed` (conflict), `mixed-currency` (invalid), besides
 *   what the order's state forbids
 */
export class SubmitOrder extends Command<OrderVersion> {
  constructor(
    readonly orderId: string,
    readonly by: By,
    /** Default: what the order was created with. */
    readonly paymentMethod?: string,
    readonly expectedTotal?: ExpectedTotal,
    readonly expectedVersion?: number,
  ) {
    super();
  }
}

@CommandHandler(SubmitOrder)
export class SubmitOrderHandler implements ICommandHandler<SubmitOrder> {
  constructor(
    private readonly orders: OrderStreams,
    private readonly queries: QueryBus,
  ) {}

  execute({ orderId, by, paymentMethod, expectedTotal, expectedVersion }: SubmitOrder): Promise<OrderVersion> {
    const prepare = async (order: KnownOrder) => {
      if (order.status === 'draft' && order.customer.kind === 'account') await this.assertActive(order.customer.userId);
      const offers = await offersFor(this.queries, order);
      return { type: 'submit', by, paymentMethod, offers, expectedTotal } as const;
    };
    return this.orders.decideOn(by, orderId, prepare, expectedVersion);
  }

  private async assertActive(userId: string): Promise<void> {
    const user = await this.queries.execute(new GetUser(userId));
    if (user?.active) return;
    const message = "The customer's account is not active any more, so the order cannot be placed.";
    throw new DomainError('conflict', 'customer-inactive', message);
  }
}
