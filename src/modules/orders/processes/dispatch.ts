import { type IQueryHandler, QueryHandler } from '@nestjs/cqrs';
import { DecideDispatch } from '../../shipping/contracts/decide-dispatch';
import { OrderStreams } from '../order-streams';

@QueryHandler(DecideDispatch)
export class DecideDispatchHandler implements IQueryHandler<DecideDispatch> {
  constructor(private readonly orders: OrderStreams) {}

  execute({ orderId, shipmentId, hasLeft }: DecideDispatch) {
    return this.orders.plan(orderId, { type: 'ship', shipmentId, hasLeft });
  }
}
