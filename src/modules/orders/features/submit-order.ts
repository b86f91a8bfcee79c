import { Command, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import type { By } from '../domain/order';
import { OrderStreams, type OrderVersion } from '../order-streams';

/** Sets fulfilment going. */
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
  constructor(private readonly orders: OrderStreams) {}

  async execute({ orderId, by, paymentMethod, expectedVersion }: SubmitOrder): Promise<OrderVersion> {
    const { version } = await this.orders.decide(orderId, { type: 'submit', by, paymentMethod }, { expectedVersion });
    return { orderId, version };
  }
}
