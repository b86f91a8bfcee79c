import fc from 'fast-check';
import { DomainError } from '../../../src/kernel/domain-error';
import { toCurrent } from '../../../src/kernel/event-store/upcasting';
import {
  chargeable,
  type PaymentCommand,
  paymentDecider,
  type PaymentEvent,
  paymentIdOf,
  type PaymentState,
} from '../../../src/modules/payments/payment';
import { asStored, fold, given } from '../../support/given-when-then';

const ids = { paymentId: '0198c2f0-0000-7000-8000-0000000000aa', orderId: '0198c2f0-0000-7000-8000-000000000001' };
const amount = { amountMinor: 2500, currency: 'EUR' };

const requested: PaymentEvent = { type: 'payment.requested', ...ids, ...amount, method: 'sandbox_ok' };
const attempted: PaymentEvent = { type: 'payment.attempted', ...ids };
const completed: PaymentEvent = { type: 'payment.completed', ...ids, ...amount, providerReference: 'charge-1' };
const failed: PaymentEvent = { type: 'payment.failed', ...ids, code: 'card_declined', message: 'Declined.' };
const voided: PaymentEvent = { type: 'payment.voided', ...ids };
const refunded: PaymentEvent = { type: 'payment.refunded', ...ids, ...amount, providerReference: 'refund-1' };

const request: PaymentCommand = { type: 'request', ...ids, ...amount, method: 'sandbox_ok' };
const attempt: PaymentCommand = { type: 'attempt' };
const complete: PaymentCommand = { type: 'complete', providerReference: 'charge-1' };
const fail: PaymentCommand = { type: 'fail', code: 'card_declined', message: 'Declined.' };
const callOff: PaymentCommand = { type: 'void', ...ids };
const recordRefund: PaymentCommand = { type: 'record-refund', providerReference: 'refund-1' };

const payment = (...past: PaymentEvent[]) => given(paymentDecider, ...past);

describe('requesting a payment', () => {
  it('asks for the money', () => payment().when(request).then(requested));
  it('is quiet on repeat, whatever came of it', () => {
    payment(requested).when(request).thenNothing();
    payment(requested, completed).when(request).thenNothing();
    payment(requested, failed).when(request).thenNothing();
    payment(requested, completed, refunded).when(request).thenNothing();
  });
  it('refuses once it was called off', () => {
    payment(voided).when(request).thenRefused('payment-voided');
    payment(requested, voided).when(request).thenRefused('payment-voided');
  });
});

describe('attempting a payment', () => {
  it('is recorded before the provider is asked, once', () => {
    payment(requested).when(attempt).then(attempted);
    payment(requested, attempted).when(attempt).thenNothing();
  });
  it('is nothing to a payment that was called off, or has its outcome', () => {
    payment(requested, voided).when(attempt).thenNothing();
    payment(requested, completed).when(attempt).thenNothing();
    payment(requested, failed).when(attempt).thenNothing();
  });
  it('decides what a void leaves open: what was never attempted was never charged', () => {
    expect(chargeable(fold(paymentDecider, [requested, voided]))).toBeUndefined();
    expect(chargeable(fold(paymentDecider, [requested, attempted, voided]))).toMatchObject(ids);
  });
  it('may have happened to what was requested before attempts were recorded', () => {
    const { type, ...stored } = requested;
    const former = { ...toCurrent(type, 1, stored), type } as PaymentEvent;
    expect(chargeable(fold(paymentDecider, [former, voided]))).toMatchObject(ids);
    expect(toCurrent(type, 2, stored)).toEqual(stored);
  });
});

describe('the provider took the money', () => {
  it('completes the payment', () => payment(requested).when(complete).then(completed));
  it('completes it also when it was called off meanwhile: then it is due back', () => {
    payment(requested, attempted, voided).when(complete).then(completed);
    expect(fold(paymentDecider, [requested, attempted, voided, completed])).toMatchObject({ refundDue: true });
    expect(fold(paymentDecider, [requested, completed])).toMatchObject({ refundDue: false });
  });
  it('is quiet on repeat', () => {
    payment(requested, completed).when(complete).thenNothing();
    payment(requested, completed, refunded).when(complete).thenNothing();
  });
  it('is quiet for what was never asked for', () => {
    payment().when(complete).thenNothing();
    payment(voided).when(complete).thenNothing();
    payment(requested, voided).when(complete).thenNothing();
  });
  it('is quiet once it failed', () => payment(requested, failed).when(complete).thenNothing());
});

describe('the provider refused', () => {
  it('fails the payment', () => payment(requested).when(fail).then(failed));
  it('is quiet on repeat', () => payment(requested, failed).when(fail).thenNothing());
  it('is quiet once it was called off, or the money is there', () => {
    payment(requested, voided).when(fail).thenNothing();
    payment(requested, completed).when(fail).thenNothing();
  });
});

describe('calling a payment off', () => {
  it('voids what was asked for', () => payment(requested).when(callOff).then(voided));
  it('voids what was not asked for yet, so that it never will be', () => payment().when(callOff).then(voided));
  it('is quiet on repeat', () => payment(requested, voided).when(callOff).thenNothing());
  it('is quiet when there is nothing to void any more: what was taken is refunded instead', () => {
    payment(requested, completed).when(callOff).thenNothing();
    payment(requested, failed).when(callOff).thenNothing();
    payment(requested, completed, refunded).when(callOff).thenNothing();
  });
});

describe('giving the money back', () => {
  it('is recorded', () => payment(requested, completed).when(recordRefund).then(refunded));
  it('is recorded for what was taken after it was called off', () =>
    payment(requested, attempted, voided, completed).when(recordRefund).then(refunded));
  it('is quiet on repeat', () => payment(requested, completed, refunded).when(recordRefund).thenNothing());
  it('is quiet when nothing was taken', () => {
    payment(requested).when(recordRefund).thenNothing();
    payment(requested, failed).when(recordRefund).thenNothing();
    payment(requested, voided).when(recordRefund).thenNothing();
  });
});

describe('an order', () => {
  it('has one payment, so that it cannot be charged twice', () => {
    expect(paymentIdOf(ids.orderId)).toBe(paymentIdOf(ids.orderId));
    expect(paymentIdOf(ids.orderId)).not.toBe(paymentIdOf(ids.paymentId));
  });
});

describe('any sequence of commands', () => {
  const command = fc.constantFrom(request, attempt, complete, fail, callOff, recordRefund);
  const sequence = fc.array(command, { maxLength: 12 });

  function run(commands: readonly PaymentCommand[]): { log: PaymentEvent[]; state: PaymentState } {
    const log: PaymentEvent[] = [];
    let state = paymentDecider.initial;
    for (const each of commands) {
      try {
        const events = paymentDecider.decide(each, state).map(asStored);
        state = events.reduce(paymentDecider.evolve, state);
        log.push(...events);
      } catch (error) {
        if (!(error instanceof DomainError)) throw error;
      }
    }
    return { log, state };
  }
  const always = (sentence: (result: ReturnType<typeof run>) => void) =>
    fc.assert(
      fc.property(sequence, (commands) => sentence(run(commands))),
      { numRuns: 500 },
    );
  const count = (log: readonly PaymentEvent[], type: PaymentEvent['type']) =>
    log.filter((event) => event.type === type).length;

  it('takes the money once and gives it back once, and never gives back what was not taken', () =>
    always(({ log }) => {
      expect(count(log, 'payment.completed')).toBeLessThanOrEqual(1);
      expect(count(log, 'payment.refunded')).toBeLessThanOrEqual(count(log, 'payment.completed'));
    }));

  it('keeps nothing that was taken after it was called off', () =>
    always(({ log, state }) => {
      const types = log.map(({ type }) => type);
      if (!types.includes('payment.voided') || !types.includes('payment.completed')) return;
      expect(types.indexOf('payment.completed')).toBeGreaterThan(types.indexOf('payment.voided'));
      if (state.status !== 'completed') return expect(state.status).toBe('refunded');
      expect(state.refundDue).toBe(true);
    }));

  it('either fails or takes money, never both', () =>
    always(({ log }) => {
      expect(count(log, 'payment.failed') + count(log, 'payment.completed')).toBeLessThanOrEqual(1);
    }));

  it('asks the provider for nothing unless it was asked to', () =>
    always(({ log, state }) => {
      if (chargeable(state)) expect(count(log, 'payment.requested')).toBe(1);
      if (count(log, 'payment.requested') === 0) {
        expect(log.filter(({ type }) => type !== 'payment.voided')).toEqual([]);
      }
    }));

  it('says nothing when the last command is repeated', () =>
    fc.assert(
      fc.property(sequence, command, (commands, last) => {
        const { state } = run([...commands, last]);
        try {
          expect(paymentDecider.decide(last, state)).toEqual([]);
        } catch (error) {
          if (!(error instanceof DomainError)) throw error;
        }
      }),
    ));

  it('folds any events, also such as could not have happened', () =>
    fc.assert(
      fc.property(fc.array(fc.constantFrom(requested, attempted, completed, failed, voided, refunded)), (events) => {
        expect(fold(paymentDecider, events)).toHaveProperty('status');
      }),
    ));
});
