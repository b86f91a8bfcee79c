import { createHash, randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Database } from '../../kernel/database/database';
import type { EntityManager } from 'typeorm';

export interface OneTimeCode {
  readonly code: string;
  readonly expiresAt: Date;
}

const lifetime = '24 hours';

/** Codes that set an account's password once. Only their hashes are stored; a new code replaces the one before. */
@Injectable()
export class OneTimeCodes {
  constructor(private readonly database: Database) {}

  async issue(userId: string): Promise<OneTimeCode> {
    const code = randomBytes(20).toString('base64url');
    const { rows } = await this.database.pool.query<{ expires_at: Date }>(
      `insert into users.one_time_codes (user_id, code_hash, expires_at)
       values ($1, $2, now() + interval '${lifetime}')
       on conflict (user_id) do update set code_hash = excluded.code_hash, expires_at = excluded.expires_at
       returning expires_at`,
      [userId, hashOf(code)],
    );
    return { code, expiresAt: rows[0]!.expires_at };
  }

  /** The account that this code is for, unless it is unknown, spent or expired. */
  async accountOf(code: string): Promise<string | undefined> {
    const { rows } = await this.database.pool.query<{ user_id: string }>(
      'select user_id from users.one_time_codes where code_hash = $1 and expires_at > now()',
      [hashOf(code)],
    );
    return rows[0]?.user_id;
  }

  /** @returns false when another request spent it first */
  async spend(code: string, manager: EntityManager): Promise<boolean> {
    const [, count] = await manager.query<[unknown, number]>(
      'delete from users.one_time_codes where code_hash = $1 and expires_at > now()',
      [hashOf(code)],
    );
    return count > 0;
  }

  /** A new password ends a code that was issued before it. */
  async withdraw(userId: string, manager: EntityManager): Promise<void> {
    await manager.query('delete from users.one_time_codes where user_id = $1', [userId]);
  }
}

function hashOf(code: string): Buffer {
  return createHash('sha256').update(code).digest();
}
