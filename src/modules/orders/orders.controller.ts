import {
  Body,
  Controller,
  Delete,
  Get,
  Headers,
  HttpCode,
  Param,
  ParseUUIDPipe,
  Patch,
  Post,
  Put,
  Query,
  Res,
} from '@nestjs/common';
import { CommandBus, QueryBus } from '@nestjs/cqrs';
import { ApiAcceptedResponse, ApiBody, ApiCreatedResponse, ApiHeader, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { EventStore } from '../../kernel/event-store/event-store';
import { Access } from '../../kernel/http/access';
import { ApiProblems } from '../../kernel/http/api-problems';
import { unknownCountry } from '../../kernel/http/codes';
import { ApiIfMatch, assertCurrent, type EntityTag, IfMatchTag } from '../../kernel/http/conditional';
import { IdempotencyKeyRequired } from '../../kernel/http/idempotency';
import { ListOrder } from '../../kernel/http/list-order';
import { mergedMetadata } from '../../kernel/http/metadata';
import { ApiPage, type Page, pageOf, PageQuery } from '../../kernel/http/page';
import { CurrentPrincipal, isStaff, type Principal } from '../../kernel/http/principal';
import { ProblemError } from '../../kernel/http/problem';
import { Subscriptions } from '../../kernel/subscriptions/subscriptions';
import {
  AddressRequest,
  CancelOrderRequest,
  ChangeLineRequest,
  createOrderExamples,
  CreateOrderRequest,
  GetOrderQuery,
  LineRequest,
  ListOrdersQuery,
  OrderEventResponse,
  SimulateRequest,
  SimulationResponse,
  SubmitOrderRequest,
  UpdateOrderRequest,
} from './api';
import type { By } from './domain/order';
import { AddLine } from './features/add-line';
import { AwaitCancellation, CancelOrder } from './features/cancel-order';
import { ChangeLine } from './features/change-line';
import { ChangeMetadata } from './features/change-metadata';
import { CreateOrder } from './features/create-order';
import { EraseGuest } from './features/erase-guest';
import { SetShippingAddress } from './features/set-shipping-address';
import { SimulateOrder, type Wish } from './features/simulate';
import { SubmitOrder } from './features/submit-order';
import { AwaitFulfilment } from './processes/fulfilment';
import type { OrderVersion } from './order-streams';
import { GetOrder, OrderDetails, withPriceChanges } from './views/order-details';
import { ListOrders, orderBy, OrderSummary } from './views/order-list';
import { GetTimeline, TimelineEntry, timelineOrder } from './views/order-timeline';

const ApiPrefer = (until: string) =>
  ApiHeader({
    name: 'Prefer',
    required: false,
    description: `\`wait=10\`: answer when ${until}, after 10 s at the latest (RFC 7240); at most 60 s.`,
  });

const fulfilledOrCancelled = 'the order is on its way or cancelled';

/** Most seconds that a response waits; a connection without a byte is kept for twice as long. */
const maxWait = 60;

/** Seconds that the client wants the response to wait; 0 without that preference. */
function waitIn(prefer: string | undefined): number {
  return Math.min(Number(/(?:^|[,;\s])wait=(\d{1,3})/.exec(prefer ?? '')?.[1] ?? 0), maxWait);
}

/** Of an order's own events. */
const streamOrder = new ListOrder('order-events', [['version', 'integer']]);

@ApiTags('orders')
@ApiProblems(400)
@Controller('v1/orders')
export class OrdersController {
  constructor(
    private readonly commands: CommandBus,
    private readonly queries: QueryBus,
    private readonly subscriptions: Subscriptions,
    private readonly events: EventStore,
  ) {}

  /** Create an order: a draft or, with submit, placed at once */
  @Post()
  @Access('customer', { scope: 'orders:write', own: true })
  @IdempotencyKeyRequired()
  @ApiPrefer(fulfilledOrCancelled)
  @ApiBody({ type: CreateOrderRequest, examples: createOrderExamples })
  @ApiCreatedResponse({ type: OrderDetails, description: 'The draft' })
  @ApiAcceptedResponse({ type: OrderDetails, description: 'Placed: it is being carried out, see Location' })
  @ApiProblems(403, 404, 409, 422)
  async createOrder(
    @CurrentPrincipal() me: Principal,
    @Body() body: CreateOrderRequest,
    @Headers('prefer') prefer: string | undefined,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<OrderDetails> {
    const {
      lines,
      submit,
      customerId,
      guest,
      orderedAt = new Date(),
      reference,
      shippingAddress,
      paymentMethod,
      expectedTotal,
      metadata: given,
    } = body;
    assertStaffFields(me, body);
    const customer = guest ? { guest } : { userId: customerId ?? me.userId };
    const metadata = mergedMetadata({}, given);
    const order = { customer, lines, orderedAt, reference, shippingAddress, paymentMethod, metadata };
    const created = await this.commands.execute(new CreateOrder(order, submit, expectedTotal));
    const { orderId } = created;
    if (submit) await this.placed(orderId, prefer, reply);
    void reply.header('Location', `/v1/orders/${orderId}`);
    return this.show(created, me);
  }

  /** Search orders; a customer finds their own */
  @Get()
  @Access('customer', { scope: 'orders:read', own: true })
  @ApiPage(OrderSummary)
  async listOrders(
    @CurrentPrincipal() me: Principal,
    @Query() { limit, after, sort, ...filter }: ListOrdersQuery,
  ): Promise<Page<OrderSummary>> {
    const order = orderBy(sort);
    const list = new ListOrders(by(me), filter, sort, limit + 1, order.decode(after));
    return pageOf(await this.queries.execute(list), limit, order);
  }

  /** One order: as it is, or as it was at an earlier version or instant */
  @Get(':id')
  @Access('customer', { scope: 'orders:read', own: true })
  @ApiProblems(404)
  async getOrder(
    @CurrentPrincipal() me: Principal,
    @Param('id', ParseUUIDPipe) id: string,
    @Query() { version, asOf }: GetOrderQuery,
  ): Promise<OrderDetails> {
    const past = version !== undefined ? { version } : asOf && { asOf };
    return this.queries.execute(new GetOrder(id, by(me), past));
  }

  /** Change an order's metadata, in any state; keys that are not named stay */
  @Patch(':id')
  @Access('customer', { scope: 'orders:write', own: true })
  @ApiIfMatch()
  @ApiProblems(404, 409, 412, 422)
  async updateOrder(
    @CurrentPrincipal() me: Principal,
    @Param('id', ParseUUIDPipe) id: string,
    @IfMatchTag() seen: EntityTag | undefined,
    @Body() { metadata = {} }: UpdateOrderRequest,
  ): Promise<OrderDetails> {
    const version = await this.versionFor(id, me, seen);
    const changed = await this.commands.execute(new ChangeMetadata(id, by(me), metadata, version));
    return this.show(changed, me);
  }

  /** Add a line to a draft; all its lines take the current prices */
  @Post(':id/lines')
  @Access('customer', { scope: 'orders:write', own: true })
  @IdempotencyKeyRequired()
  @ApiIfMatch()
  @ApiProblems(403, 404, 409, 412, 422)
  async addLine(
    @CurrentPrincipal() me: Principal,
    @Param('id', ParseUUIDPipe) id: string,
    @IfMatchTag() seen: EntityTag | undefined,
    @Body() line: LineRequest,
  ): Promise<OrderDetails> {
    assertStaffFields(me, { lines: [line] });
    const version = await this.versionFor(id, me, seen);
    const changed = await this.commands.execute(new AddLine(id, by(me), line, version));
    return this.show(changed, me);
  }

  /** Change the quantity of a draft's line; all its lines take the current prices */
  @Patch(':id/lines/:lineId')
  @Access('customer', { scope: 'orders:write', own: true })
  @ApiIfMatch()
  @ApiProblems(404, 409, 412, 422)
  async changeLine(
    @CurrentPrincipal() me: Principal,
    @Param('id', ParseUUIDPipe) id: string,
    @Param('lineId', ParseUUIDPipe) lineId: string,
    @IfMatchTag() seen: EntityTag | undefined,
    @Body() { quantity }: ChangeLineRequest,
  ): Promise<OrderDetails> {
    const version = await this.versionFor(id, me, seen);
    const changed = await this.commands.execute(new ChangeLine(id, by(me), lineId, quantity, version));
    return this.show(changed, me);
  }

  /** Remove a line from a draft; the others take the current prices */
  @Delete(':id/lines/:lineId')
  @Access('customer', { scope: 'orders:write', own: true })
  @ApiIfMatch()
  @ApiProblems(404, 409, 412)
  async removeLine(
    @CurrentPrincipal() me: Principal,
    @Param('id', ParseUUIDPipe) id: string,
    @Param('lineId', ParseUUIDPipe) lineId: string,
    @IfMatchTag() seen: EntityTag | undefined,
  ): Promise<OrderDetails> {
    const version = await this.versionFor(id, me, seen);
    const changed = await this.commands.execute(new ChangeLine(id, by(me), lineId, undefined, version));
    return this.show(changed, me);
  }

  /** Say where a draft shall go */
  @Put(':id/shipping-address')
  @Access('customer', { scope: 'orders:write', own: true })
  @ApiIfMatch()
  @ApiProblems(403, 404, 409, 412)
  async setShippingAddress(
    @CurrentPrincipal() me: Principal,
    @Param('id', ParseUUIDPipe) id: string,
    @IfMatchTag() seen: EntityTag | undefined,
    @Body() address: AddressRequest,
  ): Promise<OrderDetails> {
    assertStaffFields(me, { shippingAddress: address });
    const version = await this.versionFor(id, me, seen);
    const changed = await this.commands.execute(new SetShippingAddress(id, by(me), address, version));
    return this.show(changed, me);
  }

  /** Place a draft at the current prices: reserve the goods, take the money, book the parcel */
  @Post(':id/submit')
  @Access('customer', { scope: 'orders:write', own: true })
  @HttpCode(202)
  @IdempotencyKeyRequired()
  @ApiIfMatch()
  @ApiPrefer(fulfilledOrCancelled)
  @ApiProblems(404, 409, 412, 422)
  async submitOrder(
    @CurrentPrincipal() me: Principal,
    @Param('id', ParseUUIDPipe) id: string,
    @IfMatchTag() seen: EntityTag | undefined,
    @Body() { paymentMethod, expectedTotal }: SubmitOrderRequest,
    @Headers('prefer') prefer: string | undefined,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<OrderDetails> {
    const version = await this.versionFor(id, me, seen);
    const changed = await this.commands.execute(new SubmitOrder(id, by(me), paymentMethod, expectedTotal, version));
    await this.placed(id, prefer, reply);
    return this.show(changed, me);
  }

  /** Cancel: from then on the parcel cannot be dispatched, and what was done is taken back. Too late once it has left */
  @Post(':id/cancel')
  @Access('customer', { scope: 'orders:write', own: true })
  @HttpCode(202)
  @IdempotencyKeyRequired()
  @ApiPrefer('the order is cancelled, or the cancellation is rejected')
  @ApiIfMatch()
  @ApiProblems(404, 409, 412, 422)
  async cancelOrder(
    @CurrentPrincipal() me: Principal,
    @Param('id', ParseUUIDPipe) id: string,
    @IfMatchTag() seen: EntityTag | undefined,
    @Body() { reason }: CancelOrderRequest,
    @Headers('prefer') prefer: string | undefined,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<OrderDetails> {
    const version = await this.versionFor(id, me, seen);
    const changed = await this.commands.execute(new CancelOrder(id, by(me), reason, version));
    void reply.header('Location', `/v1/orders/${id}`);
    const seconds = waitIn(prefer);
    if (seconds > 0) {
      await this.commands.execute(new AwaitCancellation(id, seconds * 1000));
      void reply.header('Preference-Applied', `wait=${seconds}`);
    }
    return this.show(changed, me);
  }

  /** Erase the guest who placed it (staff); what has not been shipped is cancelled. This cannot be undone */
  @Delete(':id/guest')
  @Access('customer', { scope: 'orders:write', own: true })
  @HttpCode(204)
  @ApiProblems(404, 409)
  async eraseGuest(@CurrentPrincipal() me: Principal, @Param('id', ParseUUIDPipe) id: string): Promise<void> {
    await this.commands.execute(new EraseGuest(id, by(me)));
  }

  /** What would these commands do? Commits nothing */
  @Post(':id/simulate')
  @Access('customer', { scope: 'orders:read', own: true })
  @HttpCode(200)
  @ApiProblems(404)
  async simulate(
    @CurrentPrincipal() me: Principal,
    @Param('id', ParseUUIDPipe) id: string,
    @Body() { commands }: SimulateRequest,
  ): Promise<SimulationResponse> {
    const wishes = commands.map(({ reason = 'cancelled on request', ...wish }) => ({ ...wish, reason }) as Wish);
    const { results, status, totalMinor, currency } = await this.queries.execute(new SimulateOrder(id, by(me), wishes));
    return {
      results: results.map(({ events, ...result }) => ({ ...result, events: events.map((event) => ({ ...event })) })),
      status,
      total: { amountMinor: totalMinor, currency },
    };
  }

  /** The order's own events, as they stand in the log */
  @Get(':id/events')
  @Access('customer', { scope: 'orders:read', own: true })
  @ApiPage(OrderEventResponse)
  @ApiProblems(404)
  async listOrderEvents(
    @CurrentPrincipal() me: Principal,
    @Param('id', ParseUUIDPipe) id: string,
    @Query() { limit, after }: PageQuery,
  ): Promise<Page<OrderEventResponse>> {
    await this.queries.execute(new GetOrder(id, by(me)));
    const [version = 0] = streamOrder.decode(after) ?? [];
    const stored = await this.events.getEvents(id, Number(version) + 1, limit + 1);
    const events = stored.map(({ metadata: _, schemaVersion: __, ...event }) => {
      return { ...event, cursor: [String(event.version)] };
    });
    return pageOf(events, limit, streamOrder);
  }

  /** What happened to it, in every module, in one list; staff also see the steps of its fulfilment */
  @Get(':id/timeline')
  @Access('customer', { scope: 'orders:read', own: true })
  @ApiPage(TimelineEntry)
  @ApiProblems(404)
  async getTimeline(
    @CurrentPrincipal() me: Principal,
    @Param('id', ParseUUIDPipe) id: string,
    @Query() { limit, after }: PageQuery,
  ): Promise<Page<TimelineEntry>> {
    const timeline = new GetTimeline(id, by(me), limit + 1, timelineOrder.decode(after));
    return pageOf(await this.queries.execute(timeline), limit, timelineOrder);
  }

  private async placed(orderId: string, prefer: string | undefined, reply: FastifyReply): Promise<void> {
    void reply.status(202).header('Location', `/v1/orders/${orderId}`);
    const seconds = waitIn(prefer);
    if (seconds === 0) return;
    await this.commands.execute(new AwaitFulfilment(orderId, seconds * 1000));
    void reply.header('Preference-Applied', `wait=${seconds}`);
  }

  /**
   * The version that a command has to find. That the payment and the shipment are as the client saw them is checked here:
   * they are not the order's own, and no command changes them.
   */
  private async versionFor(id: string, me: Principal, seen: EntityTag | undefined): Promise<number | undefined> {
    if (!seen) return undefined;
    assertCurrent(seen, await this.queries.execute(new GetOrder(id, by(me))));
    return seen.version;
  }

  /** The order as the command left it or later, also while its view is paused or late. */
  private async show({ orderId, version, pricesChanged }: OrderVersion, me: Principal): Promise<OrderDetails> {
    await this.subscriptions.readYourWrites();
    const order = await this.queries.execute(new GetOrder(orderId, by(me), undefined, version));
    return withPriceChanges(order, pricesChanged);
  }
}

function by(me: Principal): By {
  return { userId: me.userId, staff: isStaff(me) };
}

/** A customer orders for themselves, now, at the catalogue's price. */
function assertStaffFields(me: Principal, body: Partial<CreateOrderRequest>): void {
  if (isStaff(me)) return;
  const given = [
    body.customerId !== undefined && body.customerId !== me.userId && 'customerId',
    body.guest && 'guest',
    body.orderedAt && 'orderedAt',
    body.lines?.some((line) => line.unitPrice) && 'unitPrice',
    body.shippingAddress?.countryCode === unknownCountry && `countryCode ${unknownCountry}`,
  ].find((name) => typeof name === 'string');
  if (given) throw new ProblemError(403, 'staff-only', `Only staff may give ${given}.`);
}
