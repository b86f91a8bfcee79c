import { ApiProperty } from '@nestjs/swagger';
import { IsOptional, IsUUID } from 'class-validator';
import { Money } from '../../kernel/http/money';
import { PageQuery } from '../../kernel/http/page';
import { SomeOf } from '../../kernel/http/query-values';

export const paymentStatuses = ['requested', 'attempted', 'completed', 'failed', 'voided', 'refunded'] as const;
type PaymentStatus = (typeof paymentStatuses)[number];

export class ListPaymentsQuery extends PageQuery {
  @IsOptional()
  @IsUUID()
  orderId?: string;

  /** Of one of these statuses. */
  @IsOptional()
  @SomeOf(paymentStatuses)
  status?: PaymentStatus[];
}

export class PaymentFailure {
  /** @example 'card_declined' */
  code!: string;

  message!: string;
}

export class PaymentResponse {
  id!: string;

  orderId!: string;

  /** `attempted`: the provider has been asked, and its answer is not known yet. */
  @ApiProperty({ enum: paymentStatuses })
  status!: PaymentStatus;

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
