import { Query } from '@nestjs/cqrs';

export interface VerifiedUser {
  readonly userId: string;
  readonly roles: readonly ('customer' | 'staff' | 'admin')[];
}

/** Undefined for a wrong password, an unknown e-mail and a deactivated user: in the same time, so that none can be told. */
export class VerifyCredentials extends Query<VerifiedUser | undefined> {
  constructor(
    readonly email: string,
    readonly password: string,
  ) {
    super();
  }
}
