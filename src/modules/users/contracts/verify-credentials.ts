import { Query } from '@nestjs/cqrs';

export interface VerifiedUser {
  readonly userId: string;
  readonly roles: readonly ('customer' | 'staff' | 'admin')[];
  /** Version of the account, which its access tokens carry. */
  readonly version: number;
}

/**
 * Undefined for a wrong password, an unknown e-mail address and a deactivated account, each after the same time, so
 * that the answer does not reveal which accounts exist.
 *
 * @throws ProblemError 429 after too many failures for the account or from the address
 * @throws OverloadError when too many passwords are being checked
 */
export class VerifyCredentials extends Query<VerifiedUser | undefined> {
  constructor(
    readonly email: string,
    readonly password: string,
    /** IP address of the client, for the limit on failures. */
    readonly address: string,
  ) {
    super();
  }
}
