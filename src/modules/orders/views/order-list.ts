import { type IQueryHandler, Query, QueryHandler } from '@nestjs/cqrs';
import { ApiProperty } from '@nestjs/swagger';
import { Database } from '../../../kernel/database/database';
import { type Listed, ListOrder, type SortKey, type SortValues } from '../../../kernel/http/list-order';
import { type Metadata, metadataSchema } from '../../../kernel/http/metadata';
import { Money } from '../../../kernel/http/money';
import type { Sealed } from '../../../kernel/personal-data/sealed';
import { type By, type OrderStatus, orderStatuses } from '../domain/order';

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

  @ApiProperty({ type: () => OrderGuest, nullable: true })
  guest!: Sealed<OrderGuest> | null;

  /** `cancelling`: a cancellation has been accepted, and what was done for the order is being taken back. */
  @ApiProperty({ enum: orderStatuses })
  status!: OrderStatus;

  paymentStatus!: 'none' | 'requested' | 'paid' | 'failed' | 'voided' | 'refunded';

  fulfilmentStatus!: 'none' | 'reserved' | 'created' | 'dispatched' | 'delivered' | 'cancelled';

  total!: Money;

  lineCount!: number;

  /** Why it came to nothing, or is about to. */
  cancellation!: OrderCancellation | null;

  /** Text of the caller's own by keys of the caller's own. */
  @ApiProperty(metadataSchema)
  metadata!: Sealed<Metadata> | Metadata;

  orderedAt!: Date;

  createdAt!: Date;

  updatedAt!: Date;

  /** Goes up with every change of the order itself. The ETag is made of it and the states of payment and fulfilment. */
  version!: number;
}

const summary = `v.id, v.reference, v.customer_id as "customerId", v.guest, v.status, v.payment_status as "paymentStatus",
  v.fulfilment_status as "fulfilmentStatus",
  jsonb_build_object('amountMinor', v.total_minor, 'currency', v.currency) as total, v.line_count as "lineCount",
  v.cancellation, coalesce(v.metadata, '{}') as metadata, v.ordered_at as "orderedAt", v.created_at as "createdAt",
  v.updated_at as "updatedAt", v.version`;

export type OrderSort = '-createdAt' | 'createdAt' | '-orderedAt' | 'orderedAt' | '-total' | 'total';

export interface OrderFilter {
  readonly status?: readonly OrderStatus[];
  readonly customerId?: string;
  readonly reference?: string;
  readonly createdFrom?: Date;
  readonly createdTo?: Date;
  readonly currency?: string;
  readonly minTotalMinor?: number;
  readonly maxTotalMinor?: number;
}

/** `limit` orders behind the sort values `after`; a customer's own only. */
export class ListOrders extends Query<Listed<OrderSummary>[]> {
  constructor(
    readonly by: By,
    readonly filter: OrderFilter,
    readonly sort: OrderSort,
    readonly limit: number,
    readonly after: SortValues | null = null,
  ) {
    super();
  }
}

/** The closed list of what can be sorted by: nothing of the caller's gets into the SQL. */
const sortKeys = {
  createdAt: [['v.created_at', 'instant']],
  orderedAt: [['v.ordered_at', 'instant']],
  // amounts in different currencies have no order
  total: [
    ['v.currency', 'text'],
    ['v.total_minor', 'bigint'],
  ],
} as const satisfies Record<string, readonly SortKey[]>;

export function orderBy(sort: OrderSort): ListOrder {
  const keys = sortKeys[sort.replace('-', '') as keyof typeof sortKeys];
  return new ListOrder(`orders ${sort}`, [...keys, ['v.id', 'uuid']], sort.startsWith('-') ? 'desc' : 'asc');
}

@QueryHandler(ListOrders)
export class ListOrdersHandler implements IQueryHandler<ListOrders> {
  constructor(private readonly database: Database) {}

  async execute({ by, filter, sort, limit, after }: ListOrders): Promise<Listed<OrderSummary>[]> {
    const order = orderBy(sort);
    const { rows } = await this.database.pool.query<Listed<OrderSummary>>(
      `select ${summary}, ${order.cursor} from orders.orders_view v
       where ($1::uuid is null or v.customer_id = $1)
         and ($2::text[] is null or v.status = any($2))
         and ($3::text is null or v.reference = $3)
         and ($4::timestamptz is null or v.created_at >= $4) and ($5::timestamptz is null or v.created_at < $5)
         and ($6::bigint is null or v.total_minor >= $6) and ($7::bigint is null or v.total_minor <= $7)
         and ($8::text is null or v.currency = $8)
         and ${order.beyond('$9')}
       order by ${order.by} limit $10`,
      [
        by.staff ? (filter.customerId ?? null) : by.userId,
        filter.status ?? null,
        filter.reference ?? null,
        filter.createdFrom ?? null,
        filter.createdTo ?? null,
        filter.minTotalMinor ?? null,
        filter.maxTotalMinor ?? null,
        filter.currency ?? null,
        after,
        limit,
      ],
    );
    return rows;
  }
}
