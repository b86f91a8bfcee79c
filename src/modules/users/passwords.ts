import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { Injectable } from '@nestjs/common';
import { hash, verify } from '@node-rs/argon2';
import { ZxcvbnFactory } from '@zxcvbn-ts/core';
import { adjacencyGraphs, dictionary } from '@zxcvbn-ts/language-common';
import { DomainError } from '../../kernel/domain-error';
import { OverloadError } from '../../kernel/event-store/errors';
import { Bulkhead, BulkheadFullError } from '../../kernel/resilience/bulkhead';

/** OWASP's first choice for argon2id: 19 MiB, 2 passes, 1 lane; algorithm and version are the library's defaults. */
const argon2id = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

/** Hash of no password. Verified when there is no account, so that the answer takes as long as for a wrong password. */
const decoy = '$argon2id$v=19$m=19456,t=2,p=1$aqbmHXuLhaoIVv9EsoqMiw$OHBWkimX5qoIJZliWRNQuzyliw+/y6H48+0i6DVbLGA';

/** Estimating takes time that grows faster than the text: half a second for 200 characters, 20 ms for these. */
const estimatedCharacters = 40;

/** zxcvbn's scale from 0 to 4; 2 withstands about 10⁶ guesses. */
const requiredScore = 2;

/** Room for a burst of this many; beyond it the wait would exceed a second. */
const queued = 16;

export interface PersonalWords {
  readonly email: string | null;
  readonly name: string;
}

/**
 * Hashes and checks passwords, a few at a time. Hashing runs in libuv's pool of four threads, which new database
 * connections need as well: without a bound, a burst of sign-ins would stop everything else.
 */
@Injectable()
export class Passwords {
  private readonly bulkhead = new Bulkhead('password-hashing', Math.min(availableParallelism(), 3), queued);
  private estimator: ZxcvbnFactory | undefined;

  /** @throws DomainError `password-weak` when it is among the most common ones, repetitive, or made of `about` */
  assertStrong(password: string, { email, name }: PersonalWords): void {
    this.estimator ??= new ZxcvbnFactory({ dictionary, graphs: adjacencyGraphs });
    const words = [email ?? '', email?.split('@')[0] ?? '', name].filter((word) => word.length > 2);
    const { score } = this.estimator.check(prepared(password).slice(0, estimatedCharacters), words);
    const isOwnEmail = password.trim().toLowerCase() === email?.toLowerCase();
    if (score >= requiredScore && !isOwnEmail) return;
    const message =
      'password is too easy to guess: use several unrelated words, and neither the e-mail address nor a common password';
    throw new DomainError('invalid', 'password-weak', `The ${message}.`, {
      errors: [{ pointer: '/password', message }],
    });
  }

  /** @throws OverloadError */
  hash(password: string): Promise<string> {
    return this.inTurn(() => hash(prepared(password), argon2id));
  }

  /** Only within {@link inTurn}. A password of an earlier release was hashed as it was typed, and still matches as that. */
  async matches(passwordHash: string | null | undefined, password: string): Promise<boolean> {
    for (const form of new Set([prepared(password), password])) {
      if ((await verify(passwordHash ?? decoy, form)) && passwordHash != null) return true;
    }
    return false;
  }

  /** Runs `work` when one of the places for hashing is free. @throws OverloadError when too many wait for one */
  async inTurn<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await this.bulkhead.execute(work);
    } catch (error) {
      if (!(error instanceof BulkheadFullError)) throw error;
      throw new OverloadError('Too many passwords are being checked at the moment. Try again shortly.');
    }
  }
}

/** One spelling for what looks the same on different keyboards, as RFC 8265 has it (OpaqueString): never trimmed. */
function prepared(password: string): string {
  return password.replace(/\p{Zs}/gu, ' ').normalize('NFC');
}

/** 96 random bits as 16 letters, digits, - and _. */
export function randomPassword(): string {
  return randomBytes(12).toString('base64url');
}
