import { ApiProperty } from '@nestjs/swagger';
import { IsBoolean, IsOptional, IsUUID } from 'class-validator';
import { PageQuery } from '../../kernel/http/page';
import { SomeOf } from '../../kernel/http/query-values';
import type { Sealed } from '../../kernel/personal-data/sealed';
import type { Shipment } from './shipment.entity';

const shipmentStatuses = ['created', 'dispatched', 'delivered', 'cancelled'] as const;

export class ListShipmentsQuery extends PageQuery {
  @IsOptional()
  @IsUUID()
  orderId?: string;

  /** Of one of these statuses. */
  @IsOptional()
  @SomeOf(shipmentStatuses)
  status?: Shipment['status'][];
}

export class DispatchShipmentRequest {
  /**
   * The carrier says that the parcel has left. A cancellation of its order is rejected then, unless the carrier has agreed
   * to it already.
   */
  @IsOptional()
  @IsBoolean()
  hasLeft?: boolean;
}

export class ShipmentAddress {
  name!: string;
  line1!: string;
  line2?: string;
  postalCode?: string;
  city!: string;
  countryCode!: string;
}

export class ShipmentLineResponse {
  sku!: string;
  name!: string;
  quantity!: number;
}

export class ShipmentResponse {
  id!: string;

  orderId!: string;

  status!: 'created' | 'dispatched' | 'delivered' | 'cancelled';

  @ApiProperty({ type: () => ShipmentAddress, nullable: true })
  address!: Sealed<ShipmentAddress> | null;

  lines!: ShipmentLineResponse[];

  /** @example 'SBX045117932261830' */
  trackingNumber!: string | null;

  version!: number;

  createdAt!: Date;

  dispatchedAt!: Date | null;

  deliveredAt!: Date | null;
}

export function shipmentResponse(shipment: Shipment): ShipmentResponse {
  const { id, orderId, status, address, lines, trackingNumber, version, createdAt, dispatchedAt, deliveredAt } =
    shipment;
  return { id, orderId, status, address, lines, trackingNumber, version, createdAt, dispatchedAt, deliveredAt };
}
