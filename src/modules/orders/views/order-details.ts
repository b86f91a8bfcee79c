import { type IQueryHandler, Query, QueryHandler } from '@nestjs/cqrs';
import { ApiProperty } from '@nestjs/swagger';
import { Database } from '../../../kernel/database/database';
import { DomainError } from '../../../kernel/domain-error';
import { domainEvent, type EventOf, type StoredEvent } from '../../../kernel/event-store/event';
import { EventStore } from '../../../kernel/event-store/event-store';
import { isInfrastructure } from '../../../kernel/fault';
import { tagged } from '../../../kernel/http/conditional';
import { Money } from '../../../kernel/http/money';
import type { Sealed } from '../../../kernel/personal-data/sealed';
import { FoldedView, ProjectionOf } from '../../../kernel/subscriptions/projection';
import type {
  PaymentCompleted,
  PaymentFailed,
  PaymentRefunded,
  PaymentRequested,
  PaymentVoided,
} from '../../payments/contracts/payment-events';
import type {
  ShipmentCancelled,
  ShipmentCreated,
  ShipmentDelivered,
  ShipmentDispatched,
} from '../../shipping/contracts/shipment-events';
import {
  type Address,
  allowedActions,
  type By,
  type Cancellation,
  type Guest,
  type Metadata,
  type OrderEvent,
  orderEventTypes,
  type OrderStatus,
  unknownOrder,
} from '../domain/order';
import { type Line, repriced, totalMinor } from '../domain/lines';
import type { PricesChanged } from '../order-streams';
import { OrderSummary } from './order-list';

/** Row of `orders.orders_view`. */
interface OrderRow {
  id: string;
  reference: string | null;
  customer_id: string | null;
  guest: Sealed<Guest> | null;
  status: OrderStatus;
  payment_status: OrderSummary['paymentStatus'];
  fulfilment_status: OrderSummary['fulfilmentStatus'];
  currency: string;
  total_minor: number;
  lines: Line[];
  line_count: number;
  shipping_address: Sealed<Address> | null;
  payment_method: string | null;
  payment_id: string | null;
  shipment_id: string | null;
  tracking_number: string | null;
  cancellation: Cancellation | null;
  metadata: Sealed<Metadata> | null;
  ordered_at: string;
  created_at: string;
  submitted_at: string | null;
  updated_at: string;
  version: number;
}

type Folded =
  | OrderEvent
  | EventOf<'payment.requested', PaymentRequested>
  | EventOf<'payment.completed', PaymentCompleted>
  | EventOf<'payment.failed', PaymentFailed>
  | EventOf<'payment.voided', PaymentVoided>
  | EventOf<'payment.refunded', PaymentRefunded>
  | EventOf<'shipment.created', ShipmentCreated>
  | EventOf<'shipment.dispatched', ShipmentDispatched>
  | EventOf<'shipment.delivered', ShipmentDelivered>
  | EventOf<'shipment.cancelled', ShipmentCancelled>;

/** Orders as lists and pages show them, with what payments and shipping say of them. */
@ProjectionOf('orders.order-details', { version: 4 })
export class OrderDetailsProjection extends FoldedView<OrderRow> {
  readonly eventTypes: readonly Folded['type'][] = [
    ...orderEventTypes,
    'payment.requested',
    'payment.completed',
    'payment.failed',
    'payment.voided',
    'payment.refunded',
    'shipment.created',
    'shipment.dispatched',
    'shipment.delivered',
    'shipment.cancelled',
  ];

  constructor() {
    super({ table: 'orders.orders_view', key: 'id' });
  }

  protected keyOf(event: StoredEvent): string {
    return event.payload['orderId'] as string;
  }

  protected evolve(before: OrderRow | undefined, stored: StoredEvent): OrderRow | undefined {
    const event = domainEvent<Folded>(stored);
    const at = stored.timestamp.toISOString();
    if (event.type === 'order.created') return created(event, at);
    // a payment or shipment that was called off for an order which never was
    if (!before) return undefined;
    const row = { ...before, updated_at: at };
    if (stored.aggregateType === 'order') row.version = stored.version;
    switch (event.type) {
      case 'order.item-added':
        return withLines({ ...row, currency: event.currency }, [...row.lines, event.line]);
      case 'order.item-changed': {
        const { lineId, quantity } = event;
        return withLines(
          row,
          row.lines.map((line) => (line.lineId === lineId ? { ...line, quantity } : line)),
        );
      }
      case 'order.item-removed':
        return withLines(
          row,
          row.lines.filter((line) => line.lineId !== event.lineId),
        );
      case 'order.prices-changed':
        return withLines({ ...row, currency: event.currency }, repriced(row.lines, event.prices));
      case 'order.shipping-address-set':
        return { ...row, shipping_address: event.address };
      case 'order.metadata-changed':
        return { ...row, metadata: event.metadata ?? null };
      case 'order.submitted':
        return { ...row, status: 'submitted', submitted_at: at, payment_method: event.paymentMethod ?? null };
      case 'order.reserved':
        // the parcel of an order that needs no payment may have been booked already
        if (row.fulfilment_status !== 'none') return advanced(row, 'reserved');
        return { ...advanced(row, 'reserved'), fulfilment_status: 'reserved' };
      case 'order.paid':
        return advanced(row, 'paid');
      case 'order.fulfilling':
        return advanced(row, 'fulfilling');
      case 'order.shipped':
        return { ...row, status: 'shipped' };
      case 'order.delivered':
        return { ...row, status: 'delivered' };
      case 'order.completed':
        return { ...row, status: 'completed' };
      case 'order.cancellation-requested':
        return { ...row, status: 'cancelling', cancellation: { reason: event.reason } };
      case 'order.cancellation-rejected':
        return { ...row, status: event.status, cancellation: null };
      case 'order.cancelled': {
        const { reason, step, code } = event;
        const fulfilment_status = row.fulfilment_status === 'none' ? 'none' : 'cancelled';
        return { ...row, status: 'cancelled', fulfilment_status, cancellation: { reason, step, code } };
      }
      case 'payment.requested':
        return { ...row, payment_status: 'requested', payment_id: event.paymentId };
      case 'payment.completed':
        return { ...row, payment_status: 'paid' };
      case 'payment.failed':
        return { ...row, payment_status: 'failed' };
      case 'payment.voided':
        return { ...row, payment_status: 'voided' };
      case 'payment.refunded':
        return { ...row, payment_status: 'refunded' };
      case 'shipment.created': {
        const { shipmentId: shipment_id, trackingNumber: tracking_number } = event;
        return { ...row, fulfilment_status: 'created', shipment_id, tracking_number };
      }
      case 'shipment.dispatched':
        return { ...row, fulfilment_status: 'dispatched' };
      case 'shipment.delivered':
        return { ...row, fulfilment_status: 'delivered' };
      case 'shipment.cancelled':
        return { ...row, fulfilment_status: 'cancelled' };
    }
  }
}

/** What goes on while a cancellation is under way does not hide it. */
function advanced(row: OrderRow, status: OrderStatus): OrderRow {
  return row.status === 'cancelling' ? row : { ...row, status };
}

function created(event: Extract<OrderEvent, { type: 'order.created' }>, at: string): OrderRow {
  const { orderId, customer, currency, lines, orderedAt, reference, shippingAddress, paymentMethod, metadata } = event;
  return withLines(
    {
      id: orderId,
      reference: reference ?? null,
      customer_id: customer.kind === 'account' ? customer.userId : null,
      guest: customer.kind === 'guest' ? customer.person : null,
      status: 'draft',
      payment_status: 'none',
      fulfilment_status: 'none',
      currency,
      total_minor: 0,
      lines: [],
      line_count: 0,
      shipping_address: shippingAddress ?? null,
      payment_method: paymentMethod ?? null,
      payment_id: null,
      shipment_id: null,
      tracking_number: null,
      cancellation: null,
      metadata: metadata ?? null,
      ordered_at: orderedAt,
      created_at: at,
      submitted_at: null,
      updated_at: at,
      version: 1,
    },
    lines,
  );
}

function withLines(row: OrderRow, lines: readonly Line[]): OrderRow {
  return { ...row, lines: [...lines], line_count: lines.length, total_minor: totalMinor(lines) };
}

export class OrderLine {
  lineId!: string;
  productId!: string;
  /** @example 'TEA-EG-100' */
  sku!: string;
  name!: string;
  quantity!: number;
  unitPrice!: Money;
  total!: Money;
}

export class OrderAddress {
  name!: string;
  line1!: string;
  line2?: string;
  postalCode?: string;
  city!: string;
  countryCode!: string;
}

/** The price of a line of a draft has moved since it was last shown. */
export class PriceChange {
  lineId!: string;
  productId!: string;
  /** @example 'TEA-EG-100' */
  sku!: string;
  from!: Money;
  to!: Money;
}

export class OrderDetails extends OrderSummary {
  lines!: OrderLine[];

  @ApiProperty({ type: () => OrderAddress, nullable: true })
  shippingAddress!: Sealed<OrderAddress> | null;

  paymentMethod!: string | null;

  paymentId!: string | null;

  shipmentId!: string | null;

  trackingNumber!: string | null;

  submittedAt!: Date | null;

  /** What can be done with it now. */
  allowedActions!: string[];

  /** In the response to a change of a draft's lines or its submission: the lines whose price moved, if any did. */
  priceChanged?: PriceChange[];
}

/** What the change that led to this order did to its prices. */
export function withPriceChanges(order: OrderDetails, changed: PricesChanged | undefined): OrderDetails {
  if (!changed) return order;
  const { prices, currency, previousCurrency } = changed;
  const moves = new Map(prices.map((move) => [move.lineId, move]));
  order.priceChanged = order.lines.flatMap(({ lineId, productId, sku }) => {
    const move = moves.get(lineId);
    if (!move) return [];
    const from = { amountMinor: move.previousMinor, currency: previousCurrency };
    return [{ lineId, productId, sku, from, to: { amountMinor: move.unitPriceMinor, currency } }];
  });
  return order;
}

function details(row: OrderRow): OrderDetails {
  const { currency, payment_status, fulfilment_status } = row;
  const order = {
    id: row.id,
    reference: row.reference,
    customerId: row.customer_id,
    guest: row.guest,
    status: row.status,
    paymentStatus: row.payment_status,
    fulfilmentStatus: row.fulfilment_status,
    total: { amountMinor: row.total_minor, currency },
    lineCount: row.line_count,
    cancellation: row.cancellation,
    metadata: row.metadata ?? {},
    orderedAt: new Date(row.ordered_at),
    createdAt: new Date(row.created_at),
    updatedAt: new Date(row.updated_at),
    version: row.version,
    shippingAddress: row.shipping_address,
    paymentMethod: row.payment_method,
    paymentId: row.payment_id,
    shipmentId: row.shipment_id,
    trackingNumber: row.tracking_number,
    submittedAt: row.submitted_at === null ? null : new Date(row.submitted_at),
    lines: row.lines.map(({ lineId, productId, sku, name, quantity, unitPriceMinor }) => ({
      lineId,
      productId,
      sku,
      name,
      quantity,
      unitPrice: { amountMinor: unitPriceMinor, currency },
      total: { amountMinor: unitPriceMinor * quantity, currency },
    })),
    allowedActions: [...allowedActions[row.status]],
  };
  // payment and shipment move on without a new version of the order
  const untouched = payment_status === 'none' && fulfilment_status === 'none';
  return untouched ? order : tagged(order, payment_status, fulfilment_status);
}

/** What it was after its n-th event, or as it was known at an instant. */
export type Past = { readonly version: number } | { readonly asOf: Date };

/** @throws DomainError `order-unknown`, also for somebody else's order; `version-unknown` for a past it never had */
export class GetOrder extends Query<OrderDetails> {
  constructor(
    readonly orderId: string,
    readonly by: By,
    readonly past?: Past,
    /** What the caller has just committed: where the view is behind that, the log answers instead. */
    readonly atLeast = 0,
  ) {
    super();
  }
}

@QueryHandler(GetOrder)
export class GetOrderHandler implements IQueryHandler<GetOrder> {
  constructor(
    private readonly database: Database,
    private readonly events: EventStore,
    private readonly projection: OrderDetailsProjection,
  ) {}

  async execute({ orderId, by, past, atLeast }: GetOrder): Promise<OrderDetails> {
    const view = await this.shown(orderId, by).catch((error: unknown) => {
      // what was committed is answered from the log, also while the view cannot be read
      if (atLeast === 0 || !isInfrastructure(error)) throw error;
      return undefined;
    });
    // what the view does not know yet may be in the log all the same
    const isLate = (view?.version ?? 0) < Math.max(atLeast, 1);
    const current = isLate ? await this.committed(orderId, by, view) : view;
    const row = past ? this.projection.fold(await this.until(orderId, past)) : current;
    if (row) return details(row);
    throw new DomainError('not-found', 'version-unknown', 'The order had no such version, or was not known then.');
  }

  private async shown(orderId: string, by: By): Promise<OrderRow | undefined> {
    const { rows } = await this.database.pool.query<{ row: OrderRow }>({
      name: 'orders.get',
      text: `select to_jsonb(v) as row from orders.orders_view v
             where v.id = $1 and ($2::uuid is null or v.customer_id = $2)`,
      values: [orderId, by.staff ? null : by.userId],
    });
    return rows[0]?.row;
  }

  /** The order by its own stream, with what a late view knows of its payment and shipment. */
  private async committed(orderId: string, by: By, view: OrderRow | undefined): Promise<OrderRow> {
    const row = this.projection.fold(await this.events.getEvents(orderId));
    if (!row || (!by.staff && row.customer_id !== by.userId)) throw unknownOrder();
    if (!view) return row;
    const { payment_status, payment_id, shipment_id, tracking_number } = view;
    const isOlder = view.fulfilment_status === 'none' || row.status === 'cancelled';
    const { fulfilment_status } = isOlder ? row : view;
    return { ...row, payment_status, payment_id, shipment_id, tracking_number, fulfilment_status };
  }

  /** What had happened to the order by then, in every module: its timeline tells where in the log to look. */
  private async until(orderId: string, past: Past): Promise<StoredEvent[]> {
    const { rows } = await this.database.pool.query<{ position: string }>(
      `select t.position from orders.timeline t where t.order_id = $1 and ($2::timestamptz is null or t.at <= $2)
       order by t.position`,
      [orderId, 'asOf' in past ? past.asOf : null],
    );
    const events = await this.events.at(rows.map((row) => Number(row.position)));
    if ('asOf' in past) return events;
    const last = events.findIndex((event) => event.aggregateId === orderId && event.version === past.version);
    return events.slice(0, last + 1);
  }
}
