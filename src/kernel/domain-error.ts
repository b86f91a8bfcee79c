/**
 * Why a request is refused. Repeating it unchanged does not help.
 *
 * - `not-found`: it does not exist, or not for this caller
 * - `invalid`: well-formed, but its content is wrong (an unknown product, mixed currencies)
 * - `conflict`: not possible in the current state (an empty order, no stock)
 */
export type DomainErrorKind = 'not-found' | 'invalid' | 'conflict';

/**
 * A business rule refuses the request. `code` is for programs: stable, lower case. `message` is for people: responses,
 * events and timelines show it to customers, so it names no host, table or component.
 */
export class DomainError extends Error {
  override readonly name = 'DomainError';

  constructor(
    readonly kind: DomainErrorKind,
    readonly code: string,
    message: string,
    /** Further members of the response, such as `allowedActions` or the products that are out of stock. */
    readonly details: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
  }
}
