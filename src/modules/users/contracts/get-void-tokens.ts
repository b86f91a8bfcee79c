import { Query } from '@nestjs/cqrs';

/** Events that end all access tokens of an account which were issued before them. */
export const tokenVoidingEvents = [
  'user.deactivated',
  'user.erased',
  'user.roles-changed',
  'user.password-changed',
] as const;

export interface VoidTokens {
  readonly userId: string;
  /** Tokens issued at a lower version of the account are void. */
  readonly belowVersion: number;
}

/** Accounts whose access tokens ended within the last `seconds`, or what is void of one account whenever it ended. */
export class GetVoidTokens extends Query<VoidTokens[]> {
  constructor(readonly of: { readonly seconds: number } | { readonly userId: string }) {
    super();
  }
}
