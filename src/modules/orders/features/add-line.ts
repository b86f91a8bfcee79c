import { Command, CommandHandler, type ICommandHandler, QueryBus } from '@nestjs/cqrs';
import { currentContext } from '../../../kernel/context';
import type { By } from '../domain/order';
import { type KnownOrder, OrderStreams, type OrderVersion } from '../order-streams';
import { linesOf, offersFor, type RequestedLine } from './offers';

/** Draft only. Updates the prices of all its lines. Throws as `CreateOrder` does. */
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

  execute({ orderId, by, line, expectedVersion }: AddLine): Promise<OrderVersion> {
    const lineId = currentContext().nextId('line');
    const prepare = async (order: KnownOrder) => {
      // A repeated request finds its line in the order, whatever has happened to stock and prices since.
      if (order.lines.some((each) => each.lineId === lineId)) {
        await this.orders.assertAddedByThisRequest(orderId, lineId);
      }
      const offers = await offersFor(this.queries, order, [line]);
      const { lines, currency } = linesOf(orderId, [line], offers);
      return { type: 'add-line', by, line: { ...lines[0]!, lineId }, currency, offers } as const;
    };
    return this.orders.decideOn(by, orderId, prepare, expectedVersion);
  }
}
