import { Command, CommandHandler, type ICommandHandler, QueryBus } from '@nestjs/cqrs';
import { DomainError } from '../../../kernel/domain-error';
import { GetUser } from '../../users/contracts/get-user';
import type { By } from '../domain/order';
import { OrderStreams, type OrderVersion } from '../order-streams';

/** Starts fulfilment. @throws DomainError `customer-inactive` (conflict), besides what the order's state forbids */
export class SubmitOrder extends Command<OrderVersion> {
  constructor(
    readonly orderId: string,
    readonly by: By,
    /** Default: what the order was created with. */
    readonly paymentMethod?: string,
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

  async execute({ orderId, by, paymentMethod, expectedVersion }: SubmitOrder): Promise<OrderVersion> {
    const { state: order } = await this.orders.loadFor(by, orderId);
    if (order.status === 'draft' && order.customer.kind === 'account') await this.assertActive(order.customer.userId);
    const { version } = await this.orders.decide(orderId, { type: 'submit', by, paymentMethod }, { expectedVersion });
    return { orderId, version };
  }
  private async assertActive(userId: string): Promise<void> {
    const user = await this.queries.execute(new GetUser(userId));
    if (user?.active) return;
    const message = "The customer's account is not active any more, so the order cannot be placed.";
    throw new DomainError('conflict', 'customer-inactive', message);
  }
}
