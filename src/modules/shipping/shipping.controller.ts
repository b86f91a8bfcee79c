import { Body, Controller, Get, HttpCode, Param, ParseUUIDPipe, Post, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Access } from '../../kernel/http/access';
import { ApiProblems } from '../../kernel/http/api-problems';
import { ApiPage, type Page, pageOf } from '../../kernel/http/page';
import { DispatchShipmentRequest, ListShipmentsQuery, ShipmentResponse, shipmentResponse } from './api';
import { shipmentOrder, Shipments } from './shipments';

@ApiTags('shipments')
@Controller('v1/shipments')
export class ShippingController {
  constructor(private readonly shipments: Shipments) {}

  /** All shipments, newest first (staff) */
  @Get()
  @Access('staff', { scope: 'shipments:read' })
  @ApiPage(ShipmentResponse)
  @ApiProblems(400)
  async listShipments(@Query() { limit, after, ...filter }: ListShipmentsQuery): Promise<Page<ShipmentResponse>> {
    const shipments = await this.shipments.list(filter, limit + 1, shipmentOrder.decode(after));
    return pageOf(shipments, limit, shipmentOrder, shipmentResponse);
  }

  /** One shipment (staff) */
  @Get(':id')
  @Access('staff', { scope: 'shipments:read' })
  @ApiProblems(400, 404)
  async getShipment(@Param('id', ParseUUIDPipe) id: string): Promise<ShipmentResponse> {
    return shipmentResponse(await this.shipments.get(id));
  }

  /** Hand the parcel to the carrier (staff); the goods leave the stock. Refused while the order is being cancelled */
  @Post(':id/dispatch')
  @Access('staff', { scope: 'shipments:write' })
  @HttpCode(200)
  @ApiProblems(400, 404, 409)
  async dispatchShipment(
    @Param('id', ParseUUIDPipe) id: string,
    @Body() { hasLeft = false }: DispatchShipmentRequest,
  ): Promise<ShipmentResponse> {
    return shipmentResponse(await this.shipments.dispatch(id, hasLeft));
  }

  /** The customer has the parcel (staff) */
  @Post(':id/deliver')
  @Access('staff', { scope: 'shipments:write' })
  @HttpCode(200)
  @ApiProblems(400, 404, 409)
  async deliverShipment(@Param('id', ParseUUIDPipe) id: string): Promise<ShipmentResponse> {
    return shipmentResponse(await this.shipments.deliver(id));
  }
}
