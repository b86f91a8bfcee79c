/** The provider's final answer to a charge. Anything else (no answer, an outage) is thrown: the outcome is unknown. */
export type ChargeResult =
  | { readonly outcome: 'charged'; readonly reference: string }
  /** Both are recorded and shown to the customer. `code` is lower case, e.g. `card_declined`. */
  | { readonly outcome: 'declined'; readonly code: string; readonly message: string };

export interface ChargeRequest {
  /** Idempotency key: a repeat charges nothing and gives the first answer. */
  readonly key: string;
  /** Integer minor units. */
  readonly amountMinor: number;
  readonly currency: string;
  /** The provider's token for the customer's means of payment. */
  readonly method: string;
}

/** `voided`: nothing was taken, and a charge with the same key is declined from now on. */
export type VoidResult = ChargeResult | { readonly outcome: 'voided' };

export interface RefundRequest {
  /** Idempotency key of the refund. */
  readonly key: string;
  /** Idempotency key of the charge that is given back, in full. */
  readonly chargeKey: string;
}

/** The company that moves the money. Every call may be repeated with its key. */
export abstract class PaymentProvider {
  abstract charge(request: ChargeRequest, signal: AbortSignal): Promise<ChargeResult>;
  /** Looks up what became of a charge, and keeps it from happening if nothing has. */
  abstract void(request: ChargeRequest, signal: AbortSignal): Promise<VoidResult>;
  abstract refund(request: RefundRequest, signal: AbortSignal): Promise<{ reference: string }>;
}
