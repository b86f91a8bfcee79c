import { Command, CommandHandler, type ICommandHandler, QueryBus } from '@nestjs/cqrs';
import { currentContext } from '../../../kernel/context';
import type { By } from '../domain/order';
import { OrderStreams, type OrderVersion } from '../order-streams';
import { priceLines, type RequestedLine } from './create-order';

/** Draft only. Throws as `CreateOrder` does. */
export class AddLine extends Command<OrderVersion> {
  constructor(
    readonly orderId: string,
    readonly by: By,
    readonly line: RequestedLine,
    readonly expectedVersion?: number,
  ) {
    super();
  }
}

@CommandHandler(AddLine)
export class AddLineHandler implements ICommandHandler<AddLine> {
  constructor(
    private readonly orders: OrderStreams,
    private readonly queries: QueryBus,
  ) {}

  async execute({ orderId, by, line, expectedVersion }: AddLine): Promise<OrderVersion> {
    const lineId = currentContext().nextId('line');
    const { state, version: found } = await this.orders.loadFor(by, orderId);
    // A repeated request finds its line in the order, whatever has happened to stock and prices since.
    if (state.lines.some((each) => each.lineId === lineId)) {
      await this.orders.assertAddedByThisRequest(orderId, lineId);
      return { orderId, version: found };
    }
    const { lines, currency } = await priceLines(this.queries, orderId, [line]);
    const added = { ...lines[0]!, lineId };
    const command = { type: 'add-line', by, line: added, currency } as const;
    const { version } = await this.orders.decide(orderId, command, { expectedVersion });
    return { orderId, version };
  }
}
