import type { IEventHandler } from '@nestjs/cqrs';
import { Sagas } from '../../../kernel/sagas/sagas';
import { Reaction } from '../../../kernel/subscriptions/reaction';
import { PaymentCompleted, PaymentFailed } from '../../payments/contracts/payment-events';
import { StockReserved } from '../../products/contracts/stock-events';
import { ShipmentCreated, ShipmentDelivered, ShipmentDispatched } from '../../shipping/contracts/shipment-events';
import { OrderStreams } from '../order-streams';
import { OrderFulfilment } from './fulfilment';

type Heard =
  StockReserved | PaymentCompleted | PaymentFailed | ShipmentCreated | ShipmentDispatched | ShipmentDelivered;

/** What other modules did for an order moves it on. In order for each order, whichever module it comes from. */
@Reaction(
  { name: 'orders.progress', partitionBy: 'orderId' },
  StockReserved,
  PaymentCompleted,
  PaymentFailed,
  ShipmentCreated,
  ShipmentDispatched,
  ShipmentDelivered,
)
export class Progress implements IEventHandler<Heard> {
  constructor(
    private readonly orders: OrderStreams,
    private readonly sagas: Sagas,
  ) {}

  async handle(event: Heard): Promise<void> {
    const { orderId } = event;
    if (event instanceof StockReserved) {
      await this.orders.decide(orderId, { type: 'mark-reserved' });
    } else if (event instanceof PaymentCompleted) {
      const { paymentId } = event;
      await this.orders.decide(orderId, { type: 'mark-paid', paymentId });
      await this.sagas.completeStep(OrderFulfilment, orderId, 'processPayment', { paymentId });
    } else if (event instanceof PaymentFailed) {
      const { code, message } = event;
      await this.sagas.failStep(OrderFulfilment, orderId, 'processPayment', { code, message });
    } else if (event instanceof ShipmentCreated) {
      await this.orders.decide(orderId, { type: 'mark-fulfilling', shipmentId: event.shipmentId });
    } else if (event instanceof ShipmentDispatched) {
      await this.orders.decide(orderId, { type: 'mark-shipped', shipmentId: event.shipmentId });
    } else {
      await this.orders.decide(orderId, { type: 'mark-delivered' });
    }
  }
}
