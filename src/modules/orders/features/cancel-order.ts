import { Command, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { currentContext } from '../../../kernel/context';
import { Subscriptions } from '../../../kernel/subscriptions/subscriptions';
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

/** Resolves when it is decided whether the order is cancelled, or when `timeoutMs` is over. */
export class AwaitCancellation extends Command<void> {
  constructor(
    readonly orderId: string,
    readonly timeoutMs: number,
  ) {
    super();
  }
}

@CommandHandler(AwaitCancellation)
export class AwaitCancellationHandler implements ICommandHandler<AwaitCancellation> {
  constructor(
    private readonly orders: OrderStreams,
    private readonly subscriptions: Subscriptions,
  ) {}

  async execute({ orderId, timeoutMs }: AwaitCancellation): Promise<void> {
    const decided = new AbortController();
    const told = this.subscriptions.next(
      ({ aggregateId, eventType }) =>
        aggregateId === orderId && /^order\.(cancelled|cancellation-rejected)$/.test(eventType),
      timeoutMs,
      decided.signal,
    );
    try {
      // it may have been decided before anybody listened
      const { state } = await this.orders.load(orderId);
      if ('cancelling' in state && state.cancelling) currentContext().saw((await told)?.position ?? 0);
    } finally {
      decided.abort();
    }
  }
}
