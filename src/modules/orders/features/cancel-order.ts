import { Command, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import type { By } from '../domain/order';
import { OrderStreams, type OrderVersion } from '../order-streams';

/** A draft ends at once; an order under way when everything done for it has been taken back. */
export class CancelOrder extends Command<OrderVersion> {
  constructor(
    readonly orderId: string,
    readonly by: By,
    readonly reason: string,
    readonly expectedVersion?: number,
  ) {
    super();
  }
}

@CommandHandler(CancelOrder)
export class CancelOrderHandler implements ICommandHandler<CancelOrder> {
  constructor(private readonly orders: OrderStreams) {}

  async execute({ orderId, by, reason, expectedVersion }: CancelOrder): Promise<OrderVersion> {
    const { version } = await this.orders.decide(orderId, { type: 'cancel', by, reason }, { expectedVersion });
    return { orderId, version };
  }
}
