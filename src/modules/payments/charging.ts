import { Injectable } from '@nestjs/common';
import { CommandHandler, type ICommandHandler, type IEventHandler } from '@nestjs/cqrs';
import { callsTo, Config } from '../../config/config';
import { EventType } from '../../kernel/event-store/event-type';
import { type CallPolicy, Resilience } from '../../kernel/resilience/policies';
import { Reaction } from '../../kernel/subscriptions/reaction';
import { PaymentRequested, PaymentVoided } from './contracts/payment-events';
import { ProcessPayment, RefundPayment } from './contracts/process-payment';
import { chargeable, paymentIdOf, PaymentStreams } from './payment';
import { type ChargeRequest, PaymentProvider, type VoidResult } from './payment-provider';
import { LedgerError } from './sandbox-provider';

/** What payments needs to know of it; the stored name is the contract, so orders need not be imported. */
@EventType('order.cancelled')
class OrderCancelled {
  constructor(readonly orderId: string) {}
}

/** The attempt could not be recorded, so nothing was sent: the provider is not at fault. */
class NotSentError extends Error {
  override readonly name = 'NotSentError';
}

const isOutage = (error: unknown) => !(error instanceof LedgerError) && !(error instanceof NotSentError);

/** The provider's side of a payment: takes and gives back, once each, and writes down what came of it. */
@Injectable()
export class Charging {
  private readonly policy: CallPolicy;

  constructor(
    private readonly payments: PaymentStreams,
    private readonly provider: PaymentProvider,
    config: Config,
    resilience: Resilience,
  ) {
    this.policy = resilience.policy('payment-provider', {
      ...callsTo('PAYMENT_PROVIDER', config),
      maxQueued: 512,
      shouldCount: isOutage,
    });
  }

  /**
   * Takes the money, or finds out whether it was taken when the payment was called off meanwhile. Safe to repeat from any
   * point: the payment's id is the provider's idempotency key.
   */
  async settle(paymentId: string): Promise<void> {
    let { state } = await this.payments.load(paymentId);
    const open = chargeable(state);
    if (open) {
      const request = { ...open, key: paymentId };
      const result =
        state.status === 'voided'
          ? await this.policy.execute(({ signal }) => this.provider.void(request, signal))
          : await this.charge(request);
      if (result.outcome === 'charged') {
        const complete = { type: 'complete', providerReference: result.reference } as const;
        ({ state } = await this.payments.decide(paymentId, complete));
      } else if (result.outcome === 'declined') {
        const { code, message } = result;
        ({ state } = await this.payments.decide(paymentId, { type: 'fail', code, message }));
      }
    }
    if (state.status === 'completed' && state.refundDue) await this.giveBack(paymentId);
  }

  /** The attempt is recorded only once the policy lets it through. `voided`: it was called off at the last moment. */
  private async charge(request: ChargeRequest): Promise<VoidResult> {
    try {
      return await this.policy.execute(async ({ signal }) => {
        const { state } = await this.payments.decide(request.key, { type: 'attempt' }).catch((cause: unknown) => {
          throw new NotSentError('The attempt could not be recorded', { cause });
        });
        return state.status === 'requested' ? await this.provider.charge(request, signal) : { outcome: 'voided' };
      });
    } catch (error) {
      throw error instanceof NotSentError ? error.cause : error;
    }
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

@Reaction({ name: 'payments.charge' }, PaymentRequested, PaymentVoided)
export class Settle implements IEventHandler<PaymentRequested | PaymentVoided> {
  constructor(private readonly charging: Charging) {}

  handle({ paymentId }: PaymentRequested | PaymentVoided): Promise<void> {
    return this.charging.settle(paymentId);
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
