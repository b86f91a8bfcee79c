import { CommandBus, type IEventHandler } from '@nestjs/cqrs';
import { DomainError } from '../../../kernel/domain-error';
import { Reaction } from '../../../kernel/subscriptions/reaction';
import { StockWithdrawn } from '../../products/contracts/stock-events';
import type { By } from '../domain/order';
import { CancelOrder } from '../features/cancel-order';

const system: By = { userId: 'system', staff: true };

/** An order that loses its goods is cancelled. One that has left is not: it has them. */
@Reaction({ name: 'orders.cancel-withdrawn', partitionBy: 'orderId' }, StockWithdrawn)
export class CancelWithdrawn implements IEventHandler<StockWithdrawn> {
  constructor(private readonly commands: CommandBus) {}

  async handle({ orderId, reason }: StockWithdrawn): Promise<void> {
    try {
      await this.commands.execute(new CancelOrder(orderId, system, reason));
    } catch (error) {
      if (!(error instanceof DomainError) || error.code !== 'order-shipped') throw error;
    }
  }
}
