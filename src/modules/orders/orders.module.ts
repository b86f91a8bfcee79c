import { Module } from '@nestjs/common';
import { AddLineHandler } from './features/add-line';
import { AwaitCancellationHandler, CancelOrderHandler } from './features/cancel-order';
import { ChangeMetadataHandler } from './features/change-metadata';
import { ChangeLineHandler } from './features/change-line';
import { CreateOrderHandler } from './features/create-order';
import { EraseGuestHandler } from './features/erase-guest';
import { SetShippingAddressHandler } from './features/set-shipping-address';
import { SimulateOrderHandler } from './features/simulate';
import { SubmitOrderHandler } from './features/submit-order';
import { OrderStreams } from './order-streams';
import { OrdersController } from './orders.controller';
import { DecideDispatchHandler } from './processes/dispatch';
import { CancelOrdersOfErased } from './processes/erasure';
import { AwaitFulfilmentHandler, ConcludeCancellation, Fulfil } from './processes/fulfilment';
import { Progress } from './processes/progress';
import { CancelWithdrawn } from './processes/withdrawal';
import { GetOrderHandler, OrderDetailsProjection } from './views/order-details';
import { OrderFigures } from './views/order-figures';
import { ListOrdersHandler } from './views/order-list';
import { GetTimelineHandler, OrderTimelineProjection } from './views/order-timeline';

/** Orders, from draft to delivery. */
@Module({
  controllers: [OrdersController],
  providers: [
    OrderStreams,
    CreateOrderHandler,
    AddLineHandler,
    ChangeLineHandler,
    SetShippingAddressHandler,
    ChangeMetadataHandler,
    SubmitOrderHandler,
    CancelOrderHandler,
    AwaitCancellationHandler,
    EraseGuestHandler,
    SimulateOrderHandler,
    Fulfil,
    ConcludeCancellation,
    AwaitFulfilmentHandler,
    Progress,
    DecideDispatchHandler,
    CancelOrdersOfErased,
    CancelWithdrawn,
    OrderDetailsProjection,
    GetOrderHandler,
    ListOrdersHandler,
    OrderTimelineProjection,
    OrderFigures,
    GetTimelineHandler,
  ],
})
export class OrdersModule {}
