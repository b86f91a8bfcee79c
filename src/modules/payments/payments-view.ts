import { Injectable } from '@nestjs/common';
import { Database } from '../../kernel/database/database';
import { DomainError } from '../../kernel/domain-error';
import { domainEvent, type StoredEvent } from '../../kernel/event-store/event';
import { type Listed, ListOrder, type SortValues } from '../../kernel/http/list-order';
import { FoldedView, ProjectionOf } from '../../kernel/subscriptions/projection';
import type { PaymentResponse } from './api';
import type { PaymentEvent } from './payment';

/** Row of `payments.payments_view`. */
interface PaymentRow {
  id: string;
  order_id: string;
  status: PaymentResponse['status'];
  amount_minor: number;
  currency: string;
  method: string;
  provider_reference: string | null;
  refunded_minor: number;
  failure: { code: string; message: string } | null;
  version: number;
  requested_at: string;
  updated_at: string;
}

@ProjectionOf('payments.payments', { version: 2 })
export class PaymentsProjection extends FoldedView<PaymentRow> {
  readonly eventTypes: readonly PaymentEvent['type'][] = [
    'payment.requested',
    'payment.attempted',
    'payment.completed',
    'payment.failed',
    'payment.voided',
    'payment.refunded',
  ];

  constructor() {
    super({ table: 'payments.payments_view', key: 'id' });
  }

  protected keyOf(event: StoredEvent): string {
    return event.aggregateId;
  }

  protected evolve(before: PaymentRow | undefined, stored: StoredEvent): PaymentRow | undefined {
    const event = domainEvent<PaymentEvent>(stored);
    const at = stored.timestamp.toISOString();
    if (event.type === 'payment.requested') {
      const { orderId: order_id, amountMinor: amount_minor, currency, method } = event;
      const status = event.attempted ? ('attempted' as const) : ('requested' as const);
      const open = { status, provider_reference: null, refunded_minor: 0, failure: null };
      const row = { id: stored.aggregateId, order_id, amount_minor, currency, method, ...open };
      return { ...row, version: stored.version, requested_at: at, updated_at: at };
    }
    // called off before it was asked for: there is no payment to show
    if (!before) return undefined;
    const row = { ...before, version: stored.version, updated_at: at };
    switch (event.type) {
      case 'payment.attempted':
        return { ...row, status: 'attempted' };
      case 'payment.completed':
        return { ...row, status: 'completed', provider_reference: event.providerReference };
      case 'payment.failed':
        return { ...row, status: 'failed', failure: { code: event.code, message: event.message } };
      case 'payment.voided':
        return { ...row, status: 'voided' };
      case 'payment.refunded':
        return { ...row, status: 'refunded', refunded_minor: event.amountMinor };
    }
  }
}

export interface PaymentFilter {
  readonly orderId?: string;
  readonly status?: readonly PaymentResponse['status'][];
}

const columns = `id, order_id as "orderId", status, method, failure, version, provider_reference as "providerReference",
  jsonb_build_object('amountMinor', amount_minor, 'currency', currency) as amount,
  jsonb_build_object('amountMinor', refunded_minor, 'currency', currency) as refunded,
  requested_at as "requestedAt", updated_at as "updatedAt"`;

/** Newest first. */
export const paymentOrder = new ListOrder(
  'payments',
  [
    ['p.requested_at', 'instant'],
    ['p.id', 'uuid'],
  ],
  'desc',
);

@Injectable()
export class Payments {
  constructor(private readonly database: Database) {}

  async get(id: string): Promise<PaymentResponse> {
    const { rows } = await this.database.pool.query<PaymentResponse>(
      `select ${columns} from payments.payments_view where id = $1`,
      [id],
    );
    if (rows[0]) return rows[0];
    throw new DomainError('not-found', 'payment-unknown', `There is no payment ${id}.`);
  }

  /** Newest first, `limit` of them behind the sort values `after`. */
  async list(
    { orderId, status }: PaymentFilter,
    limit: number,
    after: SortValues | null,
  ): Promise<Listed<PaymentResponse>[]> {
    const { rows } = await this.database.pool.query<Listed<PaymentResponse>>(
      `select ${columns}, ${paymentOrder.cursor} from payments.payments_view p
       where ($1::uuid is null or order_id = $1) and ($2::text[] is null or status = any($2))
         and ${paymentOrder.beyond('$3')}
       order by ${paymentOrder.by} limit $4`,
      [orderId ?? null, status ?? null, after, limit],
    );
    return rows;
  }
}
