import { type IQueryHandler, Query, QueryHandler } from '@nestjs/cqrs';
import { Database } from '../../../kernel/database/database';
import { domainEvent, type EventOf, type StoredEvent } from '../../../kernel/event-store/event';
import { Money } from '../../../kernel/http/money';
import { FoldedView, ProjectionOf } from '../../../kernel/subscriptions/projection';
import type {
  PaymentCompleted,
  PaymentFailed,
  PaymentRefunded,
  PaymentRequested,
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
  type Line,
  type OrderEvent,
  type OrderStatus,
  totalMinor,
  unknownOrder,
} from '../domain/order';

/** Row of `orders.orders_view`. */
interface OrderRow {
  id: string;
  reference: string | null;
  customer_id: string | null;
  guest: { name?: string; email?: string } | null;
  status: OrderStatus;
  payment_status: OrderSummary['paymentStatus'];
  fulfilment_status: OrderSummary['fulfilmentStatus'];
  currency: string;
  total_minor: number;
  lines: Line[];
  line_count: number;
  shipping_address: Address | null;
  payment_method: string | null;
  payment_id: string | null;
  shipment_id: string | null;
  tracking_number: string | null;
  cancellation: Cancellation | null;
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
  | EventOf<'payment.refunded', PaymentRefunded>
  | EventOf<'shipment.created', ShipmentCreated>
  | EventOf<'shipment.dispatched', ShipmentDispatched>
  | EventOf<'shipment.delivered', ShipmentDelivered>
  | EventOf<'shipment.cancelled', ShipmentCancelled>;

/** Orders as lists and pages show them, with what payments and shipping say of them. */
@ProjectionOf('orders.order-details')
export class OrderDetailsProjection extends FoldedView<OrderRow> {
  readonly eventTypes: readonly Folded['type'][] = [
    'order.created',
    'order.item-added',
    'order.item-changed',
    'order.item-removed',
    'order.shipping-address-set',
    'order.submitted',
    'order.reserved',
    'order.paid',
    'order.fulfilling',
    'order.shipped',
    'order.delivered',
    'order.completed',
    'order.cancellation-requested',
    'order.cancelled',
    'payment.requested',
    'payment.completed',
    'payment.failed',
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
        return withLines(row, [...row.lines, event.line]);
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
      case 'order.shipping-address-set':
        return { ...row, shipping_address: event.address };
      case 'order.submitted':
        return { ...row, status: 'submitted', submitted_at: at, payment_method: event.paymentMethod };
      case 'order.reserved':
        return { ...row, status: 'reserved', fulfilment_status: 'reserved' };
      case 'order.paid':
        return { ...row, status: 'paid' };
      case 'order.fulfilling':
        return { ...row, status: 'fulfilling' };
      case 'order.shipped':
        return { ...row, status: 'shipped' };
      case 'order.delivered':
        return { ...row, status: 'delivered' };
      case 'order.completed':
        return { ...row, status: 'completed' };
      case 'order.cancellation-requested':
        return row;
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

function created(event: Extract<OrderEvent, { type: 'order.created' }>, at: string): OrderRow {
  const { orderId, customer, currency, lines, orderedAt, reference, shippingAddress, paymentMethod } = event;
  return withLines(
    {
      id: orderId,
      reference: reference ?? null,
      customer_id: customer.kind === 'account' ? customer.userId : null,
      guest: customer.kind === 'guest' ? { name: customer.name, email: customer.email } : null,
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

export class OrderGuest {
  /** @example 'Grace Hopper' */
  name?: string;

  /** @example 'grace@example.com' */
  email?: string;
}

export class OrderCancellation {
  /** @example 'The card was declined.' */
  reason!: string;

  /** The step of fulfilment that failed.
   * @example 'processPayment' */
  step?: string;

  /** For programs.
   * @example 'card_declined' */
  code?: string;
}

/** An order as a list shows it. */
export class OrderSummary {
  /** @example '0198c2f0-7f1e-7d5a-9f43-0b6de4a8c111' */
  id!: string;

  /** The caller's own number for it. */
  reference!: string | null;

  /** None for a guest. */
  customerId!: string | null;

  guest!: OrderGuest | null;

  status!:
    'draft' | 'submitted' | 'reserved' | 'paid' | 'fulfilling' | 'shipped' | 'delivered' | 'completed' | 'cancelled';

  paymentStatus!: 'none' | 'requested' | 'paid' | 'failed' | 'refunded';

  fulfilmentStatus!: 'none' | 'reserved' | 'created' | 'dispatched' | 'delivered' | 'cancelled';

  total!: Money;

  lineCount!: number;

  /** Why it came to nothing, if it did. */
  cancellation!: OrderCancellation | null;

  orderedAt!: Date;

  createdAt!: Date;

  updatedAt!: Date;

  /** Goes up with every change of the order; the ETag. */
  version!: number;
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

export class OrderDetails extends OrderSummary {
  lines!: OrderLine[];

  shippingAddress!: OrderAddress | null;

  paymentMethod!: string | null;

  paymentId!: string | null;

  shipmentId!: string | null;

  trackingNumber!: string | null;

  submittedAt!: Date | null;

  /** What can be done with it now. */
  allowedActions!: string[];
}

const summary = `v.id, v.reference, v.customer_id as "customerId", v.guest, v.status, v.payment_status as "paymentStatus",
  v.fulfilment_status as "fulfilmentStatus",
  jsonb_build_object('amountMinor', v.total_minor, 'currency', v.currency) as total, v.line_count as "lineCount",
  v.cancellation, v.ordered_at as "orderedAt", v.created_at as "createdAt",
  v.updated_at as "updatedAt", v.version`;

const details = `${summary}, v.lines, v.currency, v.shipping_address as "shippingAddress",
  v.payment_method as "paymentMethod", v.payment_id as "paymentId", v.shipment_id as "shipmentId",
  v.tracking_number as "trackingNumber", v.submitted_at as "submittedAt"`;

/** @throws DomainError `order-unknown`, also for somebody else's order */
export class GetOrder extends Query<OrderDetails> {
  constructor(
    readonly orderId: string,
    readonly by: By,
  ) {
    super();
  }
}

@QueryHandler(GetOrder)
export class GetOrderHandler implements IQueryHandler<GetOrder> {
  constructor(private readonly database: Database) {}

  async execute({ orderId, by }: GetOrder): Promise<OrderDetails> {
    const { rows } = await this.database.pool.query<Omit<OrderDetails, 'lines'> & { lines: Line[]; currency: string }>({
      name: 'orders.get',
      text: `select ${details} from orders.orders_view v where v.id = $1 and ($2::uuid is null or v.customer_id = $2)`,
      values: [orderId, by.staff ? null : by.userId],
    });
    if (!rows[0]) throw unknownOrder();
    const { currency, lines, ...order } = rows[0];
    return {
      ...order,
      lines: lines.map(({ lineId, productId, sku, name, quantity, unitPriceMinor }) => ({
        lineId,
        productId,
        sku,
        name,
        quantity,
        unitPrice: { amountMinor: unitPriceMinor, currency },
        total: { amountMinor: unitPriceMinor * quantity, currency },
      })),
      allowedActions: [...allowedActions[order.status]],
    };
  }
}

export const orderSorts = ['-createdAt', 'createdAt', '-orderedAt', 'orderedAt', '-total', 'total'] as const;
export type OrderSort = (typeof orderSorts)[number];

export interface OrderFilter {
  readonly status?: OrderStatus;
  readonly customerId?: string;
  readonly reference?: string;
  readonly createdFrom?: Date;
  readonly createdTo?: Date;
  readonly minTotalMinor?: number;
  readonly maxTotalMinor?: number;
}

/** `limit` orders behind the one with id `after`; a customer's own only. */
export class ListOrders extends Query<OrderSummary[]> {
  constructor(
    readonly by: By,
    readonly filter: OrderFilter,
    readonly sort: OrderSort,
    readonly limit: number,
    readonly after?: string,
  ) {
    super();
  }
}

/** The closed list of what can be sorted by: nothing of the caller's gets into the SQL. */
const sortColumns = { createdAt: 'created_at', orderedAt: 'ordered_at', total: 'total_minor' } as const;

@QueryHandler(ListOrders)
export class ListOrdersHandler implements IQueryHandler<ListOrders> {
  constructor(private readonly database: Database) {}

  async execute({ by, filter, sort, limit, after }: ListOrders): Promise<OrderSummary[]> {
    const descending = sort.startsWith('-');
    const column = sortColumns[sort.replace('-', '') as keyof typeof sortColumns];
    const [order, beyond] = descending ? ['desc', '<'] : ['asc', '>'];
    const { rows } = await this.database.pool.query<OrderSummary>(
      `select ${summary} from orders.orders_view v
       where ($1::uuid is null or v.customer_id = $1)
         and ($2::text is null or v.status = $2)
         and ($3::text is null or v.reference = $3)
         and ($4::timestamptz is null or v.created_at >= $4) and ($5::timestamptz is null or v.created_at < $5)
         and ($6::bigint is null or v.total_minor >= $6) and ($7::bigint is null or v.total_minor <= $7)
         and ($8::uuid is null or (v.${column}, v.id) ${beyond} (
           select a.${column}, a.id from orders.orders_view a where a.id = $8))
       order by v.${column} ${order}, v.id ${order} limit $9`,
      [
        by.staff ? (filter.customerId ?? null) : by.userId,
        filter.status ?? null,
        filter.reference ?? null,
        filter.createdFrom ?? null,
        filter.createdTo ?? null,
        filter.minTotalMinor ?? null,
        filter.maxTotalMinor ?? null,
        after ?? null,
        limit,
      ],
    );
    return rows;
  }
}
