import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible';
import { Config } from '../../config/config';
import { Database } from '../../kernel/database/database';
import { addressKey } from '../../kernel/http/client-address';
import { ProblemError } from '../../kernel/http/problem';
import { canonicalText } from '../../kernel/http/text';

/** Requests for a password code per hour, which send mail to somebody else's address. */
const codesPerAccount = 5;
const codesPerAddress = 30;

interface Pair {
  readonly account: RateLimiterPostgres;
  readonly address: RateLimiterPostgres;
}

/** Counts, for all replicas, what may be tried only so often per account and per address. */
@Injectable()
export class AttemptLimits {
  private readonly signIn: Pair;
  private readonly code: Pair;

  constructor(database: Database, config: Config) {
    const limiter = (
      keyPrefix: string,
      points: number,
      minutes: number,
      options: { inMemoryBlockOnConsumed?: number } = {},
    ) =>
      new RateLimiterPostgres({
        storeClient: database.relaxed,
        storeType: 'pool',
        schemaName: 'users',
        tableName: 'sign_in_attempts',
        tableCreated: true,
        keyPrefix,
        points,
        duration: minutes * 60,
        ...options,
      });
    // A flood from one address is refused without a query. Not for accounts: another process may lift their limit.
    const flood = (points: number) => ({ inMemoryBlockOnConsumed: points + 1 });
    const failures = config.SIGN_IN_FAILURES_PER_ADDRESS;
    this.signIn = {
      account: limiter('sign-in/account', config.SIGN_IN_FAILURES_PER_ACCOUNT, 15),
      address: limiter('sign-in/address', failures, 15, flood(failures)),
    };
    this.code = {
      account: limiter('code/account', codesPerAccount, 60),
      address: limiter('code/address', codesPerAddress, 60, flood(codesPerAddress)),
    };
  }

  /**
   * Counts an attempt to sign in before it is made, so that simultaneous ones cannot exceed the limit; call
   * {@link succeeded} when the password was right.
   *
   * @throws ProblemError 429
   */
  async attempt(email: string, address: string): Promise<void> {
    await consume(this.signIn, email, address, 'failed sign-ins');
  }

  async succeeded(email: string, address: string): Promise<void> {
    await Promise.all([this.forget(email), this.signIn.address.reward(addressKey(address))]);
  }

  /** Lifts the limit of an account whose owner has proved to be who they are. */
  async forget(email: string): Promise<void> {
    await this.signIn.account.delete(accountKey(email));
  }

  /** @throws ProblemError 429 */
  async requestCode(email: string, address: string): Promise<void> {
    await consume(this.code, email, address, 'requests for a code');
  }
}

async function consume({ account, address }: Pair, email: string, from: string, what: string): Promise<void> {
  await consumeOne(address, addressKey(from), `Too many ${what} from this address`);
  await consumeOne(account, accountKey(email), `Too many ${what} for this account`);
}

async function consumeOne(limiter: RateLimiterPostgres, key: string, message: string): Promise<void> {
  try {
    await limiter.consume(key);
  } catch (refusal) {
    if (!(refusal instanceof RateLimiterRes)) throw refusal;
    const seconds = Math.max(1, Math.ceil(refusal.msBeforeNext / 1000));
    const detail = `${message}. Try again in ${seconds} s.`;
    throw new ProblemError(429, 'too-many-attempts', detail, {}, { 'Retry-After': String(seconds) });
  }
}

/** Hashed, since what is typed as an e-mail address is personal, or is a password. */
function accountKey(email: string): string {
  return createHash('sha256').update(canonicalText(email).toLowerCase()).digest('base64url');
}
