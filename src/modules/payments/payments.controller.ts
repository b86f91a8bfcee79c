import { Controller, Get, Param, ParseUUIDPipe, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Access } from '../../kernel/http/access';
import { ApiProblems } from '../../kernel/http/api-problems';
import { ApiPage, type Page, pageOf } from '../../kernel/http/page';
import { ListPaymentsQuery, PaymentResponse } from './api';
import { paymentOrder, Payments } from './payments-view';

@ApiTags('payments')
@Controller('v1/payments')
export class PaymentsController {
  constructor(private readonly payments: Payments) {}

  /** All payments, newest first (staff) */
  @Get()
  @Access('staff', { scope: 'payments:read' })
  @ApiPage(PaymentResponse)
  @ApiProblems(400)
  async listPayments(@Query() { limit, after, ...filter }: ListPaymentsQuery): Promise<Page<PaymentResponse>> {
    const payments = await this.payments.list(filter, limit + 1, paymentOrder.decode(after));
    return pageOf(payments, limit, paymentOrder);
  }

  /** One payment (staff) */
  @Get(':id')
  @Access('staff', { scope: 'payments:read' })
  @ApiProblems(400, 404)
  async getPayment(@Param('id', ParseUUIDPipe) id: string): Promise<PaymentResponse> {
    return this.payments.get(id);
  }
}
