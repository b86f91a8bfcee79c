import { IsIn, IsOptional, IsUUID } from 'class-validator';
import { Money } from '../../kernel/http/money';
import { PageQuery } from '../../kernel/http/page';

export const paymentStatuses = ['requested', 'completed', 'failed', 'voided', 'refunded'] as const;

export class ListPaymentsQuery extends PageQuery {
  @IsOptional()
  @IsUUID()
  orderId?: string;

  @IsOptional()
  @IsIn(paymentStatuses)
  status?: 'requested' | 'completed' | 'failed' | 'voided' | 'refunded';
}

export class PaymentFailure {
  /** @example 'card_declined' */
  code!: string;

  message!: string;
}

export class PaymentResponse {
  id!: string;

  orderId!: string;

  status!: 'requested' | 'completed' | 'failed' | 'voided' | 'refunded';

  amount!: Money;

  refunded!: Money;

  /** @example 'sandbox_ok' */
  method!: string;

  providerReference!: string | null;

  failure!: PaymentFailure | null;

  version!: number;

  requestedAt!: Date;

  updatedAt!: Date;
}
