import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { Injectable } from '@nestjs/common';
import { QueryBus } from '@nestjs/cqrs';
import type { Principal } from '../../kernel/http/principal';
import type { Scope } from '../../kernel/http/scopes';
import { type ApiKeyFound, VerifyApiKey } from '../../modules/users/contracts/verify-api-key';
import { bearerOf } from './bearer';
import { BoundedMap } from './bounded-map';
import { UnknownKeys } from './unknown-keys';
import { VoidTokens } from './void-tokens';

/** For so long, a key costs no query once it has been looked up, good or not, in ms; its last use is noted as often. */
const verifiedMs = 60_000;
const remembered = 10_000;

interface Lookup {
  readonly found: Promise<ApiKeyFound>;
  until: number;
  /** Or has been one: only who issues keys can make these many. */
  isKey: boolean;
}

/**
 * The key of a request, in either of its headers.
 *
 * @returns undefined when the request has none
 */
export function apiKeyOf({ authorization, 'x-api-key': header }: IncomingHttpHeaders): string | undefined {
  if (authorization === undefined) return typeof header === 'string' ? header : undefined;
  const token = bearerOf(authorization);
  return token?.startsWith('ol_key_') ? token : undefined;
}

/**
 * Verifies API keys, and keeps the outcome in memory. That is safe for as long as {@link VoidTokens} knows of every end of
 * a key and every change to its account: what it calls void is looked up again.
 */
@Injectable()
export class ApiKeyVerifier {
  private readonly lookups = new BoundedMap<string, Lookup>(remembered);
  private readonly unknown = new UnknownKeys();

  constructor(
    private readonly queries: QueryBus,
    private readonly voidTokens: VoidTokens,
  ) {}

  /** @throws ProblemError 429 after too many unknown keys from the address */
  async verify(key: string, address: string): Promise<Principal | 'invalid'> {
    const hash = createHash('sha256').update(key).digest('base64');
    for (let tries = 0; tries < 3; tries++) {
      const found = await this.lookUp(hash, key, address);
      if (typeof found !== 'object') return 'invalid';
      const { keyId, userId, version, roles, scopes } = found;
      // asked after the look-up, during which the key may have ended
      if (!(await this.voidTokens.includes({ userId, version, credentialId: keyId }))) {
        return { userId, roles, scopes: scopes as Scope[], actor: `api-key:${keyId}` };
      }
      this.outdate(hash);
    }
    return 'invalid';
  }

  private async lookUp(hash: string, key: string, address: string): Promise<ApiKeyFound> {
    const known = this.lookups.get(hash);
    if (known && performance.now() < known.until) return known.found;
    const isKey = known?.isKey ?? false;
    const query = () => this.queries.execute(new VerifyApiKey(key));
    // what has been a key is not held up by what strangers send from its address
    if (!isKey) this.unknown.assertFew(address);
    const found = isKey ? query() : this.unknown.inTurn(address, query);
    const lookup: Lookup = { found, until: performance.now() + verifiedMs, isKey };
    this.lookups.set(hash, lookup);
    try {
      const outcome = await found;
      if (outcome === 'malformed') this.lookups.delete(hash);
      else if (outcome !== 'unknown') lookup.isKey = true;
      if (typeof outcome === 'object') {
        lookup.until = Math.min(lookup.until, performance.now() + outcome.expiresIn * 1000);
      }
      return outcome;
    } catch (error) {
      if (isKey) lookup.until = 0;
      else this.lookups.delete(hash);
      throw error;
    }
  }

  private outdate(hash: string): void {
    const known = this.lookups.get(hash);
    if (known) known.until = 0;
  }
}
