import { Injectable, Logger } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Config } from '../../config/config';
import { Database } from '../../kernel/database/database';
import { DomainError } from '../../kernel/domain-error';
import { EventStore } from '../../kernel/event-store/event-store';
import { type Listed, ListOrder, type SortValues } from '../../kernel/http/list-order';
import type { Scope } from '../../kernel/http/scopes';
import { newId } from '../../kernel/ids';
import type { ApiKeyFound, VerifiedApiKey } from './contracts/verify-api-key';
import { hashOf, SecretTokens } from './secret-tokens';

export interface ApiKey {
  readonly id: string;
  /** First characters of the key. */
  readonly start: string;
  readonly name: string;
  readonly scopes: Scope[];
  readonly createdAt: Date;
  readonly lastUsedAt: Date | null;
  readonly expiresAt: Date | null;
}

export type NewApiKey = Pick<ApiKey, 'name' | 'scopes'> & { readonly expiresAt?: Date };

/** Newest first. */
export const apiKeyOrder = new ListOrder(
  'api-keys',
  [
    ['created_at', 'instant'],
    ['id', 'uuid'],
  ],
  'desc',
);

/** Enough for every machine to have its own, and to replace each without a gap. */
const keysPerAccount = 100;
const columns = `id, start, name, scopes, created_at as "createdAt", last_used_at as "lastUsedAt", expires_at as "expiresAt"`;
const valid = 'ended_at is null and (expires_at is null or expires_at > clock_timestamp())';

const tokens = new SecretTokens('ol_key_');
const startLength = 'ol_key_'.length + 4;

/** Keys by which programs act for an account. Only their hashes are stored. */
@Injectable()
export class ApiKeys {
  private readonly logger = new Logger('ApiKeys');

  constructor(
    private readonly database: Database,
    private readonly events: EventStore,
    private readonly config: Config,
  ) {}

  /**
   * @returns the key itself, which cannot be had again
   * @throws DomainError `expiry-past`, `too-many-api-keys`
   */
  create(userId: string, { name, scopes, expiresAt }: NewApiKey): Promise<{ key: string; row: ApiKey }> {
    const [id, key] = [newId(), tokens.of()];
    return this.events.transaction(async (manager) => {
      // locked, so that simultaneous requests cannot exceed the limit
      const [account] = await manager.query<object[]>(
        `select from users.users where id = $1 and status = 'active' for no key update`,
        [userId],
      );
      if (!account) throw new DomainError('conflict', 'user-inactive', 'The account is not active any more.');
      const [counted] = await manager.query<[{ count: number; past: boolean }]>(
        `select count(*)::int as count, coalesce($2::timestamptz <= clock_timestamp(), false) as past
         from users.api_keys where user_id = $1 and ${valid}`,
        [userId, expiresAt ?? null],
      );
      if (counted.past) throw pastExpiry();
      if (counted.count >= keysPerAccount) {
        const detail = `An account has at most ${keysPerAccount} API keys: end one that is not needed any more.`;
        throw new DomainError('conflict', 'too-many-api-keys', detail);
      }
      const [row] = await manager.query<[ApiKey]>(
        `insert into users.api_keys (id, user_id, key_hash, start, name, scopes, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7) returning ${columns}`,
        [id, userId, hashOf(key), key.slice(0, startLength), name, scopes, expiresAt ?? null],
      );
      const created = { type: 'user.api-key-created', userId, scopes, expiresAt: expiresAt?.toISOString() };
      return { result: { key, row }, announce: [{ aggregate: { type: 'api-key', id }, events: [created] }] };
    });
  }

  /** Those of the account that have not ended or expired. */
  async list(userId: string, limit: number, after: SortValues | null): Promise<Listed<ApiKey>[]> {
    const { rows } = await this.database.pool.query<Listed<ApiKey>>(
      `select ${columns}, ${apiKeyOrder.cursor} from users.api_keys
       where user_id = $1 and ${valid} and ${apiKeyOrder.beyond('$2')} order by ${apiKeyOrder.by} limit $3`,
      [userId, after, limit],
    );
    return rows;
  }

  /** @throws DomainError `api-key-unknown` */
  end(userId: string, id: string, reason: 'ended-by-owner' | 'ended-by-admin'): Promise<void> {
    return this.events.transaction<void>(async (manager) => {
      const [, count] = await manager.query<[unknown, number]>(
        `update users.api_keys set ended_at = clock_timestamp() where user_id = $1 and id = $2 and ended_at is null`,
        [userId, id],
      );
      if (count === 0) {
        throw new DomainError('not-found', 'api-key-unknown', 'There is no such API key, or it has been ended.');
      }
      const ended = { type: 'user.api-key-ended', userId, reason };
      return { result: undefined, announce: [{ aggregate: { type: 'api-key', id }, events: [ended] }] };
    });
  }

  /** Part of a change to the account, whose own event ends what is known of the keys in memory. */
  async endWith(userId: string, manager: EntityManager): Promise<void> {
    await manager.query(
      'update users.api_keys set ended_at = clock_timestamp() where user_id = $1 and ended_at is null',
      [userId],
    );
  }

  /** Leaves nothing of the names. */
  async erase(userId: string, manager: EntityManager): Promise<void> {
    await manager.query('delete from users.api_keys where user_id = $1', [userId]);
  }

  async verify(key: string): Promise<ApiKeyFound> {
    if (!tokens.isWellFormed(key)) return 'malformed';
    const { rows } = await this.database.pool.query<
      Omit<VerifiedApiKey, 'expiresIn'> & { expiresIn: number | null; unnoted: boolean; valid: boolean }
    >({
      name: 'api-keys.verify',
      // with OIDC_ROLES, an account of the provider has roles by its tokens alone, whatever it was given here before
      text: `select k.id as "keyId", k.scopes, u.id as "userId", u.version,
                    case when $2 and exists (select from users.identities i where i.user_id = u.id)
                         then '{customer}' else u.roles end as roles,
                    extract(epoch from k.expires_at - clock_timestamp())::float8 as "expiresIn",
                    coalesce(k.last_used_at < clock_timestamp() - interval '1 minute', true) as unnoted,
                    u.status = 'active' and k.ended_at is null
                      and (k.expires_at is null or k.expires_at > clock_timestamp()) as valid
             from users.api_keys k join users.users u on u.id = k.user_id
             where k.key_hash = $1`,
      values: [hashOf(key), this.config.OIDC_ROLES !== undefined],
    });
    if (!rows[0]) return 'unknown';
    const { unnoted, valid, expiresIn, ...verified } = rows[0];
    if (!valid) return 'ended';
    if (unnoted) void this.noteUse(verified.keyId);
    return { ...verified, expiresIn: expiresIn ?? Infinity };
  }

  async endedWithin(seconds: number): Promise<string[]> {
    const { rows } = await this.database.pool.query<{ id: string }>(
      'select id from users.api_keys where ended_at > now() - make_interval(secs => $1)',
      [seconds],
    );
    return rows.map(({ id }) => id);
  }

  /** False also for one that is unknown. */
  async isOpen(id: string): Promise<boolean> {
    const { rows } = await this.database.pool.query('select from users.api_keys where id = $1 and ended_at is null', [
      id,
    ]);
    return rows.length > 0;
  }

  /** Nobody waits for it; several processes may see that it is due. */
  private async noteUse(id: string): Promise<void> {
    try {
      await this.database.relaxed.query(
        `update users.api_keys set last_used_at = clock_timestamp()
         where id = $1 and coalesce(last_used_at < clock_timestamp() - interval '1 minute', true)`,
        [id],
      );
    } catch (error) {
      this.logger.debug(`Cannot note the use of API key ${id}: ${(error as Error).message}`);
    }
  }
}

function pastExpiry(): DomainError {
  const message = 'expiresAt must be in the future';
  return new DomainError('invalid', 'expiry-past', `${message}.`, { errors: [{ pointer: '/expiresAt', message }] });
}
