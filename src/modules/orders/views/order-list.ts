import { type IQueryHandler, Query, QueryHandler } from '@nestjs/cqrs';
import { ApiProperty } from '@nestjs/swagger';
import { Database } from '../../../kernel/database/database';
import { Money } from '../../../kernel/http/money';
import type { Sealed } from '../../../kernel/personal-data/sealed';
import type { By, OrderStatus } from '../domain/order';

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

  status!:
    'draft' | 'submitted' | 'reserved' | 'paid' | 'fulfilling' | 'shipped' | 'delivered' | 'completed' | 'cancelled';

  paymentStatus!: 'none' | 'requested' | 'paid' | 'failed' | 'voided' | 'refunded';

  fulfilmentStatus!: 'none' | 'reserved' | 'created' | 'dispatched' | 'delivered' | 'cancelled';

  total!: Money;

  lineCount!: number;

  /** Why it came to nothing, if it did. */
  cancellation!: OrderCancellation | null;

  orderedAt!: Date;

  createdAt!: Date;

  updatedAt!: Date;

  /** Goes up with every change of the order itself. The ETag is made of it and the states of payment and fulfilment. */
  version!: number;
}

const summary = `v.id, v.reference, v.customer_id as "customerId", v.guest, v.status, v.payment_status as "paymentStatus",
  v.fulfilment_status as "fulfilmentStatus",
  jsonb_build_object('amountMinor', v.total_minor, 'currency', v.currency) as total, v.line_count as "lineCount",
  v.cancellation, v.ordered_at as "orderedAt", v.created_at as "createdAt",
  v.updated_at as "updatedAt", v.version`;

export type OrderSort = '-createdAt' | 'createdAt' | '-orderedAt' | 'orderedAt' | '-total' | 'total';

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
           select a.${column}, a.id from orders.orders_view a
           where a.id = $8 and ($1::uuid is null or a.customer_id = $1)))
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
