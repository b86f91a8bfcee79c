import { Module } from '@nestjs/common';
import { Charging, ProcessPaymentHandler, RefundCancelled, RefundPaymentHandler, Settle } from './charging';
import { PaymentFigures } from './payment-figures';
import { PaymentStreams } from './payment';
import { PaymentProvider } from './payment-provider';
import { PaymentsController } from './payments.controller';
import { Payments, PaymentsProjection } from './payments-view';
import { SandboxProvider } from './sandbox-provider';

/** Money taken and given back. */
@Module({
  controllers: [PaymentsController],
  providers: [
    PaymentStreams,
    Charging,
    { provide: PaymentProvider, useClass: SandboxProvider },
    ProcessPaymentHandler,
    RefundPaymentHandler,
    Settle,
    RefundCancelled,
    PaymentsProjection,
    PaymentFigures,
    Payments,
  ],
})
export class PaymentsModule {}
