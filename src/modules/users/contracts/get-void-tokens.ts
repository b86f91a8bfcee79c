import { Query } from '@nestjs/cqrs';

/** Events that end all access tokens of an account which were issued before them. */
export const tokenVoidingEvents = [
  'user.deactivated',
  'user.erased',
  'user.roles-changed',
  'user.password-changed',
] as const;

/** Events that end one session or API key, whose id is that of their stream. */
export const credentialEndingEvents = ['user.session-ended', 'user.api-key-ended'] as const;

export interface VoidTokens {
  /** Tokens of the account that were issued at a lower version of it are void. */
  readonly accounts: readonly { readonly userId: string; readonly belowVersion: number }[];
  /** Sessions and API keys that have ended. */
  readonly credentials: readonly string[];
}

/** What ended within the last `seconds`. */
export class GetVoidTokens extends Query<VoidTokens> {
  constructor(readonly seconds: number) {
    super();
  }
}

/** Whether what was issued at this version of the account is void, or its session or API key has ended. */
export class IsTokenVoid extends Query<boolean> {
  constructor(
    readonly userId: string,
    readonly version: number,
    readonly credentialId?: string,
  ) {
    super();
  }
}
