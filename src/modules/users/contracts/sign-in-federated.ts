import { Command } from '@nestjs/cqrs';
import type { VerifiedUser } from './verify-credentials';

export interface FederatedUser extends VerifiedUser {
  /** False for an account that was deactivated or erased. */
  readonly active: boolean;
}

/** What the identity provider says about a person. Only used to open the account; later changes are not taken over. */
export interface FederatedProfile {
  readonly name?: string;
  /** Only when the provider has verified it. */
  readonly email?: string;
}

/**
 * The account of an identity at the identity provider, which is opened at first sight. It is found by issuer and subject,
 * never by e-mail address: the address of an account is no proof that its owner is the one who signs in (ADR 29).
 */
export class SignInFederated extends Command<FederatedUser> {
  constructor(
    readonly issuer: string,
    readonly subject: string,
    readonly profile: FederatedProfile,
  ) {
    super();
  }
}
