import { hkdfSync, randomBytes } from 'node:crypto';
import { Injectable, Logger } from '@nestjs/common';
import * as ipaddr from 'ipaddr.js';
import type { EntityManager } from 'typeorm';
import { Config } from '../../config/config';
import { Database } from '../../kernel/database/database';
import type { Announcement } from '../../kernel/event-store/announcement';
import { EventStore } from '../../kernel/event-store/event-store';
import { type Listed, ListOrder, type SortValues } from '../../kernel/http/list-order';
import { ProblemError } from '../../kernel/http/problem';
import { canonicalText, shortened } from '../../kernel/http/text';
import { newId } from '../../kernel/ids';
import type { Client, OpenedSession } from './contracts/sessions';
import type { VerifiedUser } from './contracts/verify-credentials';
import { hashOf, SecretTokens } from './secret-tokens';

export interface Session {
  readonly id: string;
  readonly network: string;
  readonly userAgent: string;
  readonly createdAt: Date;
  readonly lastUsedAt: Date;
  readonly expiresAt: Date;
}

export type EndReason = 'signed-out' | 'ended-by-owner' | 'ended-by-admin' | 'refresh-token-reused' | 'replaced';

/** Newest first. */
export const sessionOrder = new ListOrder(
  'sessions',
  [
    ['created_at', 'instant'],
    ['id', 'uuid'],
  ],
  'desc',
);

/** Within this time, a used refresh token is answered again: its answer was lost, or another tab used it as well. */
const repeatSeconds = 30;
const open = 'ended_at is null and expires_at > clock_timestamp()';
const tokens = new SecretTokens('ol_refresh_');

/** What a refresh finds of its token. */
interface Found {
  readonly session_id: string;
  readonly open: boolean;
  readonly used: boolean;
  readonly salt: Buffer | null;
  readonly userId: string;
  readonly roles: VerifiedUser['roles'];
  readonly version: number;
  readonly expires_in: number;
}

/**
 * Sessions and their refresh tokens. A token is exchanged once; the row locks and the unique index of its table make that
 * hold for all replicas. Every end is an event, by which all of them learn that the session's access tokens are void.
 */
@Injectable()
export class Sessions {
  private readonly logger = new Logger('Sessions');

  constructor(
    private readonly database: Database,
    private readonly events: EventStore,
    private readonly config: Config,
  ) {}

  /** @returns undefined when the account was changed since it was verified: it is, say, deactivated, or its password is another */
  open(user: VerifiedUser, client: Client): Promise<OpenedSession | undefined> {
    const [sessionId, refreshToken] = [newId(), tokens.of()];
    const { REFRESH_TOKEN_DAYS: days, REFRESH_TOKEN_IDLE_DAYS: idleDays, SESSIONS_PER_ACCOUNT: limit } = this.config;
    return this.events.transaction<OpenedSession | undefined>(async (manager) => {
      // locked, so that simultaneous sign-ins cannot exceed the limit
      const [current] = await manager.query<object[]>(
        `select from users.users where id = $1 and status = 'active' and tokens_void_below <= $2 for no key update`,
        [user.userId, user.version],
      );
      if (!current) return { result: undefined, announce: [] };
      const surplus = `id in (select id from users.sessions where user_id = $1 and ${open}
                              order by last_used_at desc, id offset $2)`;
      const announce = await end(manager, 'replaced', surplus, [user.userId, limit - 1]);
      const [{ expires_in: expiresIn }] = await manager.query<[{ expires_in: number }]>(
        `insert into users.sessions (id, user_id, network, user_agent, expires_at)
         values ($1, $2, $3, $4, clock_timestamp() + make_interval(days => least($5::int, $6::int)))
         returning extract(epoch from expires_at - created_at)::float8 as expires_in`,
        [sessionId, user.userId, ...described(client), days, idleDays],
      );
      await addToken(manager, refreshToken, sessionId);
      return { result: { sessionId, user, refreshToken, expiresIn: Math.floor(expiresIn) }, announce };
    });
  }

  /** @throws ProblemError 401 `refresh-token-invalid`, `refresh-token-reused` */
  async refresh(token: string, client: Client): Promise<OpenedSession> {
    const refreshed = tokens.isWellFormed(token) ? await this.exchange(token, client) : 'invalid';
    if (refreshed === 'invalid') {
      const detail = 'The refresh token is unknown or has expired, or its session has ended: sign in again.';
      throw new ProblemError(401, 'refresh-token-invalid', detail);
    }
    if (refreshed === 'reused') {
      this.logger.warn(`A used refresh token was used again from ${client.address}: its session has ended`);
      const detail =
        'The refresh token had been used before. Its session has ended, as it may be stolen: sign in again.';
      throw new ProblemError(401, 'refresh-token-reused', detail);
    }
    return refreshed;
  }

  /** Ends the session of the refresh token, be that used or not. */
  async endByToken(token: string): Promise<void> {
    if (!tokens.isWellFormed(token)) return;
    const condition = 'id = (select session_id from users.refresh_tokens where token_hash = $1)';
    await this.end('signed-out', condition, [hashOf(token)]);
  }

  /** @returns false when there is no such session that is open */
  async endOne(userId: string, id: string, reason: EndReason): Promise<boolean> {
    return (await this.end(reason, 'user_id = $1 and id = $2', [userId, id])) > 0;
  }

  /** Ends all sessions of the account, except the one that is named. */
  async endAll(userId: string, reason: EndReason, except?: string): Promise<void> {
    await this.end(reason, 'user_id = $1 and id is distinct from $2::uuid', [userId, except ?? null]);
  }

  /** Part of a change to the account, whose own event makes the access tokens void. */
  async endWith(userId: string, manager: EntityManager, except?: string): Promise<void> {
    await manager.query(
      `update users.sessions set ended_at = clock_timestamp()
       where user_id = $1 and id is distinct from $2::uuid and ${open}`,
      [userId, except ?? null],
    );
  }

  /** Leaves nothing of where the person has been. */
  async erase(userId: string, manager: EntityManager): Promise<void> {
    await manager.query('delete from users.sessions where user_id = $1', [userId]);
  }

  /** Those of the account that are open. */
  async list(userId: string, limit: number, after: SortValues | null): Promise<Listed<Session>[]> {
    const { rows } = await this.database.pool.query<Listed<Session>>(
      `select id, network, user_agent as "userAgent", created_at as "createdAt", last_used_at as "lastUsedAt",
              expires_at as "expiresAt", ${sessionOrder.cursor}
       from users.sessions where user_id = $1 and ${open} and ${sessionOrder.beyond('$2')}
       order by ${sessionOrder.by} limit $3`,
      [userId, after, limit],
    );
    return rows;
  }

  async endedWithin(seconds: number): Promise<string[]> {
    const { rows } = await this.database.pool.query<{ id: string }>(
      'select id from users.sessions where ended_at > now() - make_interval(secs => $1)',
      [seconds],
    );
    return rows.map(({ id }) => id);
  }

  /** False also for one that is unknown. */
  async isOpen(id: string): Promise<boolean> {
    const { rows } = await this.database.pool.query('select from users.sessions where id = $1 and ended_at is null', [
      id,
    ]);
    return rows.length > 0;
  }

  private exchange(token: string, client: Client): Promise<OpenedSession | 'invalid' | 'reused'> {
    const [hash, salt] = [hashOf(token), randomBytes(32)];
    return this.events.transaction<OpenedSession | 'invalid' | 'reused'>(async (manager) => {
      // the rows that are locked are read as they are once the lock is held
      const [found] = await manager.query<Found[]>(
        `select t.session_id, u.id as "userId", u.roles, u.version, t.used_at is not null as used,
                case when t.used_at > clock_timestamp() - interval '${repeatSeconds} s' then t.salt end as salt,
                s.ended_at is null and s.expires_at > clock_timestamp() and u.status = 'active' as open,
                extract(epoch from s.expires_at - clock_timestamp())::float8 as expires_in
         from users.refresh_tokens t join users.sessions s on s.id = t.session_id join users.users u on u.id = s.user_id
         where t.token_hash = $1 for update of s, t`,
        [hash],
      );
      if (!found?.open) return { result: 'invalid', announce: [] };
      const { session_id: sessionId, userId, roles, version } = found;
      const refreshed = (from: Buffer, seconds: number): OpenedSession => {
        const refreshToken = successor(token, from);
        return { sessionId, user: { userId, roles, version }, refreshToken, expiresIn: Math.floor(seconds) };
      };
      if (!found.used) {
        const next = refreshed(salt, await this.prolong(manager, sessionId, client));
        // from now on, only this one can be repeated
        await manager.query('update users.refresh_tokens set salt = null where session_id = $1 and salt is not null', [
          sessionId,
        ]);
        await manager.query(
          'update users.refresh_tokens set used_at = clock_timestamp(), salt = $2 where token_hash = $1',
          [hash, salt],
        );
        await addToken(manager, next.refreshToken, sessionId);
        return { result: next, announce: [] };
      }
      if (found.salt) return { result: refreshed(found.salt, found.expires_in), announce: [] };
      return { result: 'reused', announce: await end(manager, 'refresh-token-reused', 'id = $1', [sessionId]) };
    });
  }

  /** @returns seconds until it expires */
  private async prolong(manager: EntityManager, id: string, client: Client): Promise<number> {
    const { REFRESH_TOKEN_DAYS: days, REFRESH_TOKEN_IDLE_DAYS: idleDays } = this.config;
    const [[{ expires_in: seconds }]] = await manager.query<[[{ expires_in: number }], number]>(
      `update users.sessions set last_used_at = clock_timestamp(), network = $2, user_agent = $3,
         expires_at = least(created_at + make_interval(days => $4), clock_timestamp() + make_interval(days => $5))
       where id = $1 returning extract(epoch from expires_at - clock_timestamp())::float8 as expires_in`,
      [id, ...described(client), days, idleDays],
    );
    return seconds;
  }

  /** @returns how many it were */
  private end(reason: EndReason, condition: string, values: unknown[]): Promise<number> {
    return this.events.transaction(async (manager) => {
      const announce = await end(manager, reason, condition, values);
      return { result: announce.length, announce };
    });
  }
}

/** Ends the open sessions that match, and announces it. */
async function end(
  manager: EntityManager,
  reason: EndReason,
  condition: string,
  values: unknown[],
): Promise<Announcement[]> {
  const [ended] = await manager.query<[{ id: string; user_id: string }[], number]>(
    `update users.sessions set ended_at = clock_timestamp() where ${open} and ${condition} returning id, user_id`,
    values,
  );
  return ended.map(({ id, user_id: userId }) => ({
    aggregate: { type: 'session', id },
    events: [{ type: 'user.session-ended', userId, reason }],
  }));
}

async function addToken(manager: EntityManager, token: string, sessionId: string): Promise<void> {
  await manager.query('insert into users.refresh_tokens (token_hash, session_id) values ($1, $2)', [
    hashOf(token),
    sessionId,
  ]);
}

/**
 * The refresh token that follows. Whoever has a token and repeats its exchange is given the same next one, though only
 * hashes are stored; the salt alone is of no use to anybody.
 */
function successor(token: string, salt: Buffer): string {
  return tokens.of(Buffer.from(hkdfSync('sha256', token, salt, 'next refresh token', 32)));
}

/** Enough to recognise a session by, and no more. */
function described({ address, userAgent }: Client): [network: string, userAgent: string] {
  return [networkOf(address), shortened(canonicalText(userAgent), 200)];
}

function networkOf(address: string): string {
  if (!ipaddr.isValid(address)) return 'unknown';
  const parsed = ipaddr.process(address);
  return parsed instanceof ipaddr.IPv6
    ? `${ipaddr.IPv6.networkAddressFromCIDR(`${parsed.toString()}/48`).toString()}/48`
    : `${ipaddr.IPv4.networkAddressFromCIDR(`${parsed.toString()}/24`).toString()}/24`;
}
