import { Query } from '@nestjs/cqrs';
import type { VerifiedUser } from './verify-credentials';

export interface VerifiedApiKey extends VerifiedUser {
  readonly keyId: string;
  /** Of `kernel/http/scopes`. */
  readonly scopes: readonly string[];
  /** Seconds from now; Infinity for a key that does not expire. */
  readonly expiresIn: number;
}

/**
 * - `ended`: it has ended or expired, or its account is not active
 * - `malformed`: its form or its checksum is wrong, which is found out without a query
 */
export type ApiKeyFound = VerifiedApiKey | 'ended' | 'unknown' | 'malformed';

export class VerifyApiKey extends Query<ApiKeyFound> {
  constructor(readonly key: string) {
    super();
  }
}
