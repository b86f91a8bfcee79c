import { Command, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { PersonalData } from '../../../kernel/personal-data/personal-data';
import { type Address, type By, personBehind } from '../domain/order';
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
  constructor(
    private readonly orders: OrderStreams,
    private readonly personalData: PersonalData,
  ) {}

  async execute({ orderId, by, address, expectedVersion }: SetShippingAddress): Promise<OrderVersion> {
    const { state: order } = await this.orders.loadFor(by, orderId);
    const sealed = await this.personalData.seal(personBehind(order), address);
    const command = { type: 'set-address', by, address: sealed } as const;
    const { version } = await this.orders.decide(orderId, command, { expectedVersion });
    return { orderId, version };
  }
}
