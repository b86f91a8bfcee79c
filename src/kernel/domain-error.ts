/**
 * What the caller asked for is not possible, and asking again the same way will not help.
 *
 * - `not-found`: there is no such thing, or not for this caller
 * - `invalid`: understood, but it makes no sense (an unknown product, a mixed currency)
 * - `conflict`: not in this state (an empty order, no stock)
 */
export type DomainErrorKind = 'not-found' | 'invalid' | 'conflict';

/** Refusal by a business rule. `code` is stable and meant for programs, `message` for people. */
export class DomainError extends Error {
  override readonly name = 'DomainError';

  constructor(
    readonly kind: DomainErrorKind,
    readonly code: string,
    message: string,
    /** Further members of the answer, such as `allowedActions` or the list of what is short. */
    readonly details: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
  }
}
