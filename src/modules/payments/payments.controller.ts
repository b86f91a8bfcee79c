import { Controller, Get, Param, ParseUUIDPipe, Query } from '@nestjs/common';
import { ApiSecurity, ApiTags } from '@nestjs/swagger';
import { ApiProblems } from '../../kernel/http/api-problems';
import { ApiPage, type Page, pageOf } from '../../kernel/http/page';
import { Roles } from '../../kernel/http/principal';
import { ListPaymentsQuery, PaymentResponse } from './api';
import { paymentOrder, Payments } from './payments-view';

@ApiTags('payments')
@ApiSecurity('password')
@ApiProblems(401, 403)
@Roles('staff')
@Controller('v1/payments')
export class PaymentsController {
  constructor(private readonly payments: Payments) {}

  /** All payments, newest first (staff) */
  @Get()
  @ApiPage(PaymentResponse)
  @ApiProblems(400)
  async listPayments(@Query() { limit, after, ...filter }: ListPaymentsQuery): Promise<Page<PaymentResponse>> {
    const payments = await this.payments.list(filter, limit + 1, paymentOrder.decode(after));
    return pageOf(payments, limit, paymentOrder);
  }

  /** One payment (staff) */
  @Get(':id')
  @ApiProblems(400, 404)
  async getPayment(@Param('id', ParseUUIDPipe) id: string): Promise<PaymentResponse> {
    return this.payments.get(id);
  }
}
