import { Injectable } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error';
import { AggregateStore } from '../../kernel/event-store/aggregate-store';
import type { Decider } from '../../kernel/event-store/decider';
import type { EventOf } from '../../kernel/event-store/event';
import { EventStore } from '../../kernel/event-store/event-store';
import { upcast } from '../../kernel/event-store/upcasting';
import { deriveId } from '../../kernel/ids';
import type {
  PaymentAttempted,
  PaymentCompleted,
  PaymentFailed,
  PaymentRefunded,
  PaymentRequested,
  PaymentVoided,
} from './contracts/payment-events';

export type PaymentEvent =
  /** `attempted`: stored before attempts were recorded, so that it may have been. */
  | EventOf<'payment.requested', PaymentRequested & { readonly attempted?: true }>
  | EventOf<'payment.attempted', PaymentAttempted>
  | EventOf<'payment.completed', PaymentCompleted>
  | EventOf<'payment.failed', PaymentFailed>
  | EventOf<'payment.voided', PaymentVoided>
  | EventOf<'payment.refunded', PaymentRefunded>;

type Request = Pick<PaymentRequested, 'paymentId' | 'orderId' | 'amountMinor' | 'currency' | 'method'>;

/** Version 1 was stored before attempts were. */
upcast('payment.requested', (event) => ({ ...event, attempted: true }));

export type PaymentState =
  | { readonly status: 'none' }
  /** Never sent to the provider, or sent with an outcome that is not known yet. */
  | (Request & { readonly status: 'requested'; readonly attempted: boolean })
  /** `refundDue`: taken after it had been called off. */
  | (Request & { readonly status: 'completed'; readonly providerReference: string; readonly refundDue: boolean })
  | (Request & { readonly status: 'failed' })
  /** Without a request when nothing can have been taken. */
  | { readonly status: 'voided'; readonly request: Request | undefined }
  | (Request & { readonly status: 'refunded' });

export type PaymentCommand =
  | ({ type: 'request' } & Request)
  | { type: 'attempt' }
  | { type: 'complete'; providerReference: string }
  | { type: 'fail'; code: string; message: string }
  | { type: 'void'; paymentId: string; orderId: string }
  | { type: 'record-refund'; providerReference: string };

export const paymentDecider: Decider<PaymentState, PaymentCommand, PaymentEvent> = {
  type: 'payment',
  initial: { status: 'none' },

  decide(command, state) {
    switch (command.type) {
      case 'request': {
        if (state.status === 'voided') {
          throw new DomainError('conflict', 'payment-voided', 'This payment was called off before it was asked for.');
        }
        return state.status === 'none' ? [{ ...command, type: 'payment.requested' }] : [];
      }
      case 'attempt': {
        if (state.status !== 'requested' || state.attempted) return [];
        const { paymentId, orderId } = state;
        return [{ type: 'payment.attempted', paymentId, orderId }];
      }
      case 'complete': {
        const request = chargeable(state);
        if (!request) return [];
        const { paymentId, orderId, amountMinor, currency } = request;
        const { providerReference } = command;
        return [{ type: 'payment.completed', paymentId, orderId, amountMinor, currency, providerReference }];
      }
      case 'fail': {
        if (state.status !== 'requested') return [];
        const { paymentId, orderId } = state;
        return [{ type: 'payment.failed', paymentId, orderId, code: command.code, message: command.message }];
      }
      case 'void': {
        if (state.status !== 'none' && state.status !== 'requested') return [];
        return [{ type: 'payment.voided', paymentId: command.paymentId, orderId: command.orderId }];
      }
      case 'record-refund': {
        if (state.status !== 'completed') return [];
        const { paymentId, orderId, amountMinor, currency } = state;
        const { providerReference } = command;
        return [{ type: 'payment.refunded', paymentId, orderId, amountMinor, currency, providerReference }];
      }
    }
  },

  evolve(state, event) {
    switch (event.type) {
      case 'payment.requested':
        return { ...event, status: 'requested', attempted: event.attempted ?? false };
      case 'payment.attempted':
        return state.status === 'requested' ? { ...state, attempted: true } : state;
      case 'payment.completed': {
        const { providerReference } = event;
        const refundDue = state.status === 'voided';
        return { ...requestOf(state, event), status: 'completed', providerReference, refundDue };
      }
      case 'payment.failed':
        return { ...requestOf(state, event), status: 'failed' };
      case 'payment.voided':
        return { status: 'voided', request: state.status === 'requested' && state.attempted ? state : undefined };
      case 'payment.refunded':
        return { ...requestOf(state, event), status: 'refunded' };
    }
  },
};

/** What the provider may be asked about: also of a payment that was called off after it had been attempted. */
export function chargeable(state: PaymentState): Request | undefined {
  if (state.status === 'requested') return state;
  return state.status === 'voided' ? state.request : undefined;
}

function requestOf(state: PaymentState, { paymentId, orderId }: { paymentId: string; orderId: string }): Request {
  const known = state.status === 'voided' ? state.request : state;
  return { amountMinor: 0, currency: '', method: '', ...known, paymentId, orderId };
}

/** One payment an order: its id follows from the order's, so that two can never be charged for the same order. */
export const paymentIdOf = (orderId: string): string => deriveId(orderId, 'payment');

@Injectable()
export class PaymentStreams extends AggregateStore<PaymentState, PaymentCommand, PaymentEvent> {
  constructor(events: EventStore) {
    super(paymentDecider, events);
  }
}
