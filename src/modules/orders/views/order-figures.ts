import { Database } from '../../../kernel/database/database';
import { domainEvent, type StoredEvent } from '../../../kernel/event-store/event';
import { type Change, type Effect, Figures } from '../../../kernel/metrics/figures';
import {
  BusinessMetrics,
  type Distribution,
  type Metric,
  type MetricSource,
} from '../../../kernel/metrics/metric-source';
import { ProjectionOf } from '../../../kernel/subscriptions/projection';
import { type OrderEvent, orderEventTypes, type OrderStatus, orderStatuses } from '../domain/order';

/** What is remembered of an order until it ends. */
interface Open {
  readonly status: OrderStatus;
  /** An ISO instant. */
  readonly submittedAt?: string;
}

/** Up to what the time since an order was placed is measured, by the event that ends it. */
const milestones: Readonly<Record<string, string>> = {
  'order.fulfilling': 'fulfilling',
  'order.shipped': 'shipped',
  'order.delivered': 'delivered',
};

const [minute, hour, day] = [60, 3600, 86_400];
/** Upper bounds of the buckets, in seconds: booking takes seconds, shipping days. */
const bounds = [1, 5, 15, minute, 5 * minute, hour, 6 * hour, day, 2 * day, 4 * day, 7 * day, 14 * day, Infinity];

/** How many orders are in which status, and how long they took to get there. */
@BusinessMetrics()
@ProjectionOf('orders.figures', { awaited: false })
export class OrderFigures extends Figures<Open> implements MetricSource {
  readonly eventTypes = orderEventTypes;

  constructor(database: Database) {
    super('orders.figures', database);
  }

  protected subjectOf(event: StoredEvent): string {
    return event.payload['orderId'] as string;
  }

  protected effectOf(stored: StoredEvent, before: Open | undefined): Effect<Open> {
    const event = domainEvent<OrderEvent>(stored);
    // an order that has ended changes no more
    if (!before && event.type !== 'order.created') return { changes: [] };
    const status = statusAfter(before?.status, event);
    const submittedAt = event.type === 'order.submitted' ? stored.timestamp.toISOString() : before?.submittedAt;
    const changes: Change[] = [];
    if (before?.status !== status) changes.push(['status', status, 1]);
    if (before && before.status !== status) changes.push(['status', before.status, -1]);
    const milestone = milestones[event.type];
    if (milestone && submittedAt) {
      const ms = Math.max(0, stored.timestamp.getTime() - Date.parse(submittedAt));
      const bound = bounds.find((each) => ms <= each * 1000)!;
      changes.push([`until ${milestone}`, String(bound), 1], [`until ${milestone}`, 'ms', ms]);
    }
    const hasEnded = status === 'completed' || status === 'cancelled';
    return { changes, memory: hasEnded ? undefined : { status, submittedAt } };
  }

  async metrics(): Promise<readonly Metric[]> {
    const names = Object.values(milestones);
    const figures = await this.read('status', ...names.map((name) => `until ${name}`));
    const status = figures.get('status')!;
    return [
      {
        name: 'orders',
        type: 'gauge',
        help: 'Orders by their present status.',
        samples: orderStatuses.map((each) => ({ labels: { status: each }, value: status.get(each) ?? 0 })),
      },
      {
        name: 'order_fulfilment_seconds',
        type: 'histogram',
        help: 'How long orders took from their submission until they were booked for shipping, shipped, or delivered.',
        distributions: names.map((until) => distribution({ until }, figures.get(`until ${until}`)!)),
      },
    ];
  }
}

function distribution(labels: Record<string, string>, counts: ReadonlyMap<string, number>): Distribution {
  let count = 0;
  const buckets = bounds.map((le) => ({ le, count: (count += counts.get(String(le)) ?? 0) }));
  return { labels, buckets, sum: (counts.get('ms') ?? 0) / 1000 };
}

/** What goes on while a cancellation is under way does not hide it. */
function statusAfter(before: OrderStatus | undefined, event: OrderEvent): OrderStatus {
  const advanced = (status: OrderStatus) => (before === 'cancelling' ? before : status);
  switch (event.type) {
    case 'order.created':
      return 'draft';
    case 'order.submitted':
      return 'submitted';
    case 'order.reserved':
      return advanced('reserved');
    case 'order.paid':
      return advanced('paid');
    case 'order.fulfilling':
      return advanced('fulfilling');
    case 'order.shipped':
      return 'shipped';
    case 'order.delivered':
      return 'delivered';
    case 'order.completed':
      return 'completed';
    case 'order.cancellation-requested':
      return 'cancelling';
    case 'order.cancellation-rejected':
      return event.status;
    case 'order.cancelled':
      return 'cancelled';
    case 'order.item-added':
    case 'order.item-changed':
    case 'order.item-removed':
    case 'order.prices-changed':
    case 'order.shipping-address-set':
    case 'order.metadata-changed':
      return before ?? 'draft';
  }
}
