import { Command, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import type { Address, By } from '../domain/order';
import { OrderStreams, type OrderVersion } from '../order-streams';

/** Draft only. */
export class SetShippingAddress extends Command<OrderVersion> {
  constructor(
    readonly orderId: string,
    readonly by: By,
    readonly address: Address,
    readonly expectedVersion?: number,
  ) {
    super();
  }
}

@CommandHandler(SetShippingAddress)
export class SetShippingAddressHandler implements ICommandHandler<SetShippingAddress> {
  constructor(private readonly orders: OrderStreams) {}

  async execute({ orderId, by, address, expectedVersion }: SetShippingAddress): Promise<OrderVersion> {
    const { version } = await this.orders.decide(orderId, { type: 'set-address', by, address }, { expectedVersion });
    return { orderId, version };
  }
}
