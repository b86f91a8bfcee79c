import { EventType } from '../../../kernel/event-store/event-type';

/** The carrier has been told of the parcel. */
@EventType('shipment.created')
export class ShipmentCreated {
  constructor(
    readonly shipmentId: string,
    readonly orderId: string,
    readonly trackingNumber: string,
  ) {}
}

/** The carrier has it. */
@EventType('shipment.dispatched')
export class ShipmentDispatched {
  constructor(
    readonly shipmentId: string,
    readonly orderId: string,
  ) {}
}

/** The customer has it. */
@EventType('shipment.delivered')
export class ShipmentDelivered {
  constructor(
    readonly shipmentId: string,
    readonly orderId: string,
  ) {}
}

/** It will not leave. */
@EventType('shipment.cancelled')
export class ShipmentCancelled {
  constructor(
    readonly shipmentId: string,
    readonly orderId: string,
  ) {}
}
