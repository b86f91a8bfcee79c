import { Command } from '@nestjs/cqrs';
import type { Sealed } from '../../../kernel/personal-data/sealed';

export interface PostalAddress {
  readonly name: string;
  readonly line1: string;
  readonly line2?: string;
  readonly postalCode?: string;
  readonly city: string;
  /** ISO 3166-1 alpha-2. */
  readonly countryCode: string;
}

export interface ShipmentLine {
  readonly sku: string;
  readonly name: string;
  readonly quantity: number;
}

/**
 * Books a parcel for an order with the carrier. There is one shipment an order: a repeat gives the first result.
 *
 * @throws DomainError `shipment-refused` (conflict): the carrier does not take it; `shipment-cancelled` (conflict); `address-erased` (conflict)
 */
export class CreateShipment extends Command<{ shipmentId: string; trackingNumber: string }> {
  constructor(
    readonly orderId: string,
    readonly address: Sealed<PostalAddress>,
    readonly lines: readonly ShipmentLine[],
  ) {
    super();
  }
}

/**
 * Keeps an order's parcel from leaving; safe, and final, when there is none.
 *
 * @throws DomainError `shipment-dispatched` (conflict): it has left
 */
export class CancelShipment extends Command<void> {
  constructor(readonly orderId: string) {
    super();
  }
}
