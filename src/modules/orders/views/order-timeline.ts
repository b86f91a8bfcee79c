import { type IQueryHandler, Query, QueryHandler } from '@nestjs/cqrs';
import type { PoolClient } from 'pg';
import { Database } from '../../../kernel/database/database';
import type { StoredEvent } from '../../../kernel/event-store/event';
import { type Listed, ListOrder, type SortValues } from '../../../kernel/http/list-order';
import { sagaEventTypes } from '../../../kernel/sagas/saga-stream';
import { type Projection, ProjectionOf } from '../../../kernel/subscriptions/projection';
import { type By, orderEventTypes, unknownOrder } from '../domain/order';
import { OrderFulfilment } from '../processes/fulfilment';

const ofOthers = [
  'stock.reserved',
  'stock.released',
  'stock.withdrawn',
  'stock.withdrawal-lapsed',
  'stock.committed',
  'payment.requested',
  'payment.attempted',
  'payment.completed',
  'payment.failed',
  'payment.voided',
  'payment.refunded',
  'shipment.created',
  'shipment.dispatched',
  'shipment.delivered',
  'shipment.cancelled',
];

/** Long, and shown elsewhere already. */
const leftOut = new Set([
  'orderId',
  'saga',
  'subject',
  'data',
  'lines',
  'customer',
  'shippingAddress',
  'address',
  'metadata',
  'output',
]);

/** Everything that happened to an order, in every module, in one list. */
@ProjectionOf('orders.timeline', { version: 4 })
export class OrderTimelineProjection implements Projection {
  readonly table = 'orders.timeline';
  readonly eventTypes = [...orderEventTypes, ...ofOthers, ...sagaEventTypes];

  partitionOf(event: StoredEvent): string {
    return orderOf(event) ?? event.aggregateId;
  }

  async project(events: readonly StoredEvent[], view: PoolClient, table: string): Promise<void> {
    const rows = events.flatMap((event) => {
      const orderId = orderOf(event);
      if (!orderId) return [];
      const data = Object.fromEntries(Object.entries(event.payload).filter(([name]) => !leftOut.has(name)));
      const { position, id, eventType: type, timestamp: at, metadata } = event;
      return [{ position, order_id: orderId, event_id: id, type, actor: metadata.actor, at, data }];
    });
    if (rows.length === 0) return;
    await view.query({
      name: `write ${table}`,
      text: `insert into ${table} select * from jsonb_populate_recordset(null::${table}, $1::jsonb)
             on conflict (position) do nothing`,
      values: [JSON.stringify(rows)],
    });
  }
}

function orderOf({ payload }: StoredEvent): string | undefined {
  if (payload['saga'] === OrderFulfilment.name) return payload['subject'] as string;
  return payload['orderId'] as string | undefined;
}

export class TimelineEntry {
  /** Place in the log. */
  position!: number;

  eventId!: string;

  /** @example 'payment.completed' */
  type!: string;

  /** Who or what caused it. To customers, everybody but themselves is `staff` or `system`.
   * @example 'system:payments.charge' */
  actor!: string;

  at!: Date;

  /** The event's other members. */
  data!: Record<string, unknown>;
}

/** Oldest first. */
export const timelineOrder = new ListOrder('timeline', [['timeline.position', 'bigint']]);

/**
 * Oldest first, behind the sort values `after`. Customers see what happened to their order; which steps the system took for that,
 * who of the staff acted, and what only accounting needs is for staff.
 *
 * @throws DomainError `order-unknown`, also for somebody else's order
 */
export class GetTimeline extends Query<Listed<TimelineEntry>[]> {
  constructor(
    readonly orderId: string,
    readonly by: By,
    readonly limit: number,
    readonly after: SortValues | null = null,
  ) {
    super();
  }
}

@QueryHandler(GetTimeline)
export class GetTimelineHandler implements IQueryHandler<GetTimeline> {
  constructor(private readonly database: Database) {}

  async execute({ orderId, by, limit, after }: GetTimeline): Promise<Listed<TimelineEntry>[]> {
    const order = await this.database.pool.query(
      'select 1 from orders.orders_view where id = $1 and ($2::uuid is null or customer_id = $2)',
      [orderId, by.staff ? null : by.userId],
    );
    if (order.rowCount === 0) throw unknownOrder();
    const { rows } = await this.database.pool.query<Listed<TimelineEntry>>(
      `select position::float8 as position, event_id as "eventId", type, actor, at as at, data,
              ${timelineOrder.cursor}
       from orders.timeline where order_id = $1 and ${timelineOrder.beyond('$2')} and ($4 or type not like 'saga.%')
       order by ${timelineOrder.by} limit $3`,
      [orderId, after, limit, by.staff],
    );
    return by.staff ? rows : rows.map((entry) => forCustomer(entry, by.userId));
  }
}

/** Members of events that customers are not shown: the payment provider's own name for a transfer. */
const staffOnly = new Set(['providerReference']);

function forCustomer(entry: Listed<TimelineEntry>, userId: string): Listed<TimelineEntry> {
  const [kind] = entry.actor.split(':');
  const actor = entry.actor === `user:${userId}` ? entry.actor : kind === 'system' ? 'system' : 'staff';
  const data = Object.fromEntries(Object.entries(entry.data).filter(([name]) => !staffOnly.has(name)));
  return { ...entry, actor, data };
}
