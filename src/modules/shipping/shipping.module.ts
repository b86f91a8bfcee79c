import { Module } from '@nestjs/common';
import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Carrier, SandboxCarrier } from './carrier';
import { CancelShipment, CreateShipment } from './contracts/create-shipment';
import { Shipment } from './shipment.entity';
import { Shipments } from './shipments';
import { ShippingController } from './shipping.controller';

@CommandHandler(CreateShipment)
class CreateShipmentHandler implements ICommandHandler<CreateShipment> {
  constructor(private readonly shipments: Shipments) {}

  execute({ orderId, address, lines }: CreateShipment) {
    return this.shipments.create(orderId, address, lines);
  }
}

@CommandHandler(CancelShipment)
class CancelShipmentHandler implements ICommandHandler<CancelShipment> {
  constructor(private readonly shipments: Shipments) {}

  execute({ orderId }: CancelShipment) {
    return this.shipments.cancel(orderId);
  }
}

/** Parcels, from booking to delivery. */
@Module({
  imports: [TypeOrmModule.forFeature([Shipment])],
  controllers: [ShippingController],
  providers: [Shipments, { provide: Carrier, useClass: SandboxCarrier }, CreateShipmentHandler, CancelShipmentHandler],
})
export class ShippingModule {}
