import { Injectable } from '@nestjs/common';
import { CommandHandler, type ICommandHandler, type IEventHandler } from '@nestjs/cqrs';
import { EventType } from '../../kernel/event-store/event-type';
import { type CallPolicy, Resilience } from '../../kernel/resilience/policies';
import { Reaction } from '../../kernel/subscriptions/reaction';
import { PaymentRequested } from './contracts/payment-events';
import { ProcessPayment, RefundPayment } from './contracts/process-payment';
import { chargeable, paymentIdOf, PaymentStreams } from './payment';
import { PaymentProvider } from './payment-provider';
import { LedgerError } from './sandbox-provider';

/** What payments needs to know of it; the stored name is the contract, so orders need not be imported. */
@EventType('order.cancelled')
class OrderCancelled {
  constructor(readonly orderId: string) {}
}

const isOutage = (error: unknown) => !(error instanceof LedgerError);

/** The provider's side of a payment: takes and gives back, once each, and writes down what came of it. */
@Injectable()
export class Charging {
  private readonly policy: CallPolicy;

  constructor(
    private readonly payments: PaymentStreams,
    private readonly provider: PaymentProvider,
    resilience: Resilience,
  ) {
    this.policy = resilience.policy('payment-provider', {
      timeoutMs: 5000,
      maxConcurrent: 64,
      maxQueued: 512,
      shouldCount: isOutage,
    });
  }

  /** Safe to repeat from any point: the payment's id is the provider's idempotency key. */
  async charge(paymentId: string): Promise<void> {
    let { state } = await this.payments.load(paymentId);
    const open = chargeable(state);
    if (open) {
      const request = { ...open, key: paymentId };
      const result = await this.policy.execute(({ signal }) => this.provider.charge(request, signal));
      ({ state } = await this.payments.decide(
        paymentId,
        result.outcome === 'charged'
          ? { type: 'complete', providerReference: result.reference }
          : { type: 'fail', code: result.code, message: result.message },
      ));
    }
    if (state.status === 'completed' && state.refundDue) await this.giveBack(paymentId);
  }

  /** Whatever state it is in, nothing is kept, and nothing more is taken: also when it is asked for only later. */
  async callOff(orderId: string): Promise<void> {
    const paymentId = paymentIdOf(orderId);
    const { state } = await this.payments.decide(paymentId, { type: 'void', paymentId, orderId });
    if (state.status === 'completed') await this.giveBack(paymentId);
  }

  private async giveBack(paymentId: string): Promise<void> {
    const request = { key: `${paymentId}/refund`, chargeKey: paymentId };
    const { reference } = await this.policy.execute(({ signal }) => this.provider.refund(request, signal));
    await this.payments.decide(paymentId, { type: 'record-refund', providerReference: reference });
  }
}

@CommandHandler(ProcessPayment)
export class ProcessPaymentHandler implements ICommandHandler<ProcessPayment> {
  constructor(private readonly payments: PaymentStreams) {}

  async execute({ orderId, amountMinor, currency, method }: ProcessPayment) {
    const paymentId = paymentIdOf(orderId);
    await this.payments.decide(paymentId, { type: 'request', paymentId, orderId, amountMinor, currency, method });
    return { paymentId };
  }
}

@CommandHandler(RefundPayment)
export class RefundPaymentHandler implements ICommandHandler<RefundPayment> {
  constructor(private readonly charging: Charging) {}

  execute({ orderId }: RefundPayment): Promise<void> {
    return this.charging.callOff(orderId);
  }
}

@Reaction({ name: 'payments.charge' }, PaymentRequested)
export class ChargeRequested implements IEventHandler<PaymentRequested> {
  constructor(private readonly charging: Charging) {}

  handle({ paymentId }: PaymentRequested): Promise<void> {
    return this.charging.charge(paymentId);
  }
}

/** Nothing is kept for an order that is not delivered, whoever cancelled it and however late the charge came. */
@Reaction({ name: 'payments.refund-cancelled', partitionBy: 'orderId' }, OrderCancelled)
export class RefundCancelled implements IEventHandler<OrderCancelled> {
  constructor(
    private readonly charging: Charging,
    private readonly payments: PaymentStreams,
  ) {}

  async handle({ orderId }: OrderCancelled): Promise<void> {
    const { version } = await this.payments.load(paymentIdOf(orderId));
    if (version > 0) await this.charging.callOff(orderId);
  }
}
