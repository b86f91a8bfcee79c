import { Command, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import type { By } from '../domain/order';
import { OrderStreams, type OrderVersion } from '../order-streams';

/** Draft only. Without a quantity the line is removed. */
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
  constructor(private readonly orders: OrderStreams) {}

  async execute({ orderId, by, lineId, quantity, expectedVersion }: ChangeLine): Promise<OrderVersion> {
    const { version } = await this.orders.decide(
      orderId,
      quantity === undefined ? { type: 'remove-line', by, lineId } : { type: 'change-line', by, lineId, quantity },
      { expectedVersion },
    );
    return { orderId, version };
  }
}
