import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { type EntityManager, IsNull, Not, QueryFailedError, Repository } from 'typeorm';
import { Config } from '../../config/config';
import { currentContext } from '../../kernel/context';
import { DomainError } from '../../kernel/domain-error';
import { VersionMismatch } from '../../kernel/event-store/errors';
import { EventStore } from '../../kernel/event-store/event-store';
import { listed } from '../../kernel/database/listed';
import { type Listed, ListOrder, type SortValues } from '../../kernel/http/list-order';
import { isSameMetadata, mergedMetadata, type Metadata, type MetadataChange } from '../../kernel/http/metadata';
import type { Role } from '../../kernel/http/principal';
import { canonicalText } from '../../kernel/http/text';
import { PersonalData } from '../../kernel/personal-data/personal-data';
import { erased } from '../../kernel/personal-data/sealed';
import { ApiKeys } from './api-keys';
import { tokenVoidingEvents } from './contracts/get-void-tokens';
import { Identity } from './identity.entity';
import { Sessions } from './sessions';
import { User } from './user.entity';

type AccountEvent =
  | { type: 'user.registered' | 'user.roles-changed'; userId: string; roles: Role[] }
  | {
      type: 'user.profile-changed' | 'user.deactivated' | 'user.erased' | 'user.password-changed' | 'user.code-issued';
      userId: string;
    };

export interface NewAccount {
  /** Null for somebody who signs in elsewhere and whose address is not known. */
  readonly email: string | null;
  readonly name: string;
  /** Without one, the account cannot sign in until a one-time code has set a password. */
  readonly passwordHash: string | null;
  readonly roles?: Role[];
  /** Opens the account for this identity alone: it never has a password here. */
  readonly identity?: Pick<Identity, 'hash' | 'issuer'>;
  readonly metadata?: Metadata;
}

export interface ProfileChange {
  readonly name?: string;
  readonly metadata?: MetadataChange;
}

/** Newest first. */
export const accountOrder = new ListOrder(
  'users',
  [
    ['u.created_at', 'instant'],
    ['u.id', 'uuid'],
  ],
  'desc',
);

/** Accounts: rows, changed together with the event that says so. No event carries a name or an e-mail address. */
@Injectable()
export class Accounts {
  constructor(
    @InjectRepository(User) private readonly users: Repository<User>,
    private readonly events: EventStore,
    private readonly personalData: PersonalData,
    private readonly sessions: Sessions,
    private readonly apiKeys: ApiKeys,
    private readonly config: Config,
  ) {}

  find(id: string): Promise<User | null> {
    return this.users.findOneBy({ id });
  }

  async get(id: string): Promise<User> {
    const user = await this.find(id);
    if (!user) throw unknownUser(id);
    return user;
  }

  /** True when its owner signs in with the identity provider. */
  isFederated(id: string, manager: EntityManager = this.users.manager): Promise<boolean> {
    return manager.existsBy(Identity, { userId: id });
  }

  findByIdentity(hash: Buffer): Promise<User | null> {
    const identity = this.users.manager.createQueryBuilder(Identity, 'i').select('i.userId').where('i.hash = :hash');
    return this.users.createQueryBuilder('u').where(`u.id = (${identity.getQuery()})`, { hash }).getOne();
  }

  hasPassword(id: string): Promise<boolean> {
    return this.users.existsBy({ id, passwordHash: Not(IsNull()) });
  }

  /** Newest first, `limit` of them behind the sort values `after`. */
  list(limit: number, after: SortValues | null): Promise<Listed<User>[]> {
    const query = this.users.createQueryBuilder('u').addSelect(accountOrder.sortValues, 'cursor');
    query.where(accountOrder.beyond(':after'), { after });
    return listed(query.orderBy('u.createdAt', 'DESC').addOrderBy('u.id', 'DESC').limit(limit));
  }

  /** Accounts whose tokens ended within the last `seconds`, as the database's clock has it. */
  withVoidTokens(seconds: number): Promise<Pick<User, 'id' | 'tokensVoidBelow'>[]> {
    return this.users
      .createQueryBuilder('u')
      .where('u.tokensVoidedAt > now() - make_interval(secs => :seconds)', { seconds })
      .getMany();
  }

  /** Of several spellings of one address, one opens an account. @returns `created`: false for a repeat of the same request. @throws DomainError `email-taken` */
  async register({
    email,
    name,
    passwordHash,
    roles = ['customer'],
    identity,
    metadata = {},
  }: NewAccount): Promise<{ id: string; created: boolean }> {
    const id = currentContext().nextId('user');
    try {
      await this.events.transaction(async (manager) => {
        await manager.insert(User, {
          id,
          email: email && canonicalText(email),
          name,
          passwordHash,
          roles,
          metadata,
          status: 'active',
          version: 1,
        });
        if (identity) await manager.insert(Identity, { ...identity, userId: id });
        return { result: id, announce: [announce({ type: 'user.registered', userId: id, roles })] };
      });
    } catch (error) {
      if (!isUniqueViolation(error)) throw error;
      if (await this.users.existsBy({ id })) return { id, created: false };
      throw new DomainError('conflict', 'email-taken', 'An account with this e-mail address already exists: sign in.');
    }
    return { id, created: true };
  }

  /** @throws DomainError `metadata-too-large` (invalid) */
  async changeProfile(id: string, change: ProfileChange, expectedVersion: number): Promise<User> {
    return this.change(id, expectedVersion, async (user) => {
      assertNotErased(user);
      const { name = user.name } = change;
      const metadata = mergedMetadata(user.metadata, change.metadata);
      if (user.name === name && isSameMetadata(user.metadata, metadata)) return [];
      Object.assign(user, { name, metadata });
      return [{ type: 'user.profile-changed', userId: id }];
    });
  }

  /** @throws DomainError `last-admin` when nobody could manage accounts any more; `roles-elsewhere` */
  async assignRoles(id: string, roles: Role[], expectedVersion: number | undefined): Promise<User> {
    return this.changeAmongAdmins(id, expectedVersion, async (user, otherAdmins, manager) => {
      assertNotErased(user);
      if (sameRoles(user.roles, roles)) return [];
      if (this.config.OIDC_ROLES && (await this.isFederated(id, manager))) throw rolesElsewhere();
      if (!roles.includes('admin')) assertOtherAdmin(user, otherAdmins);
      user.roles = roles;
      return [{ type: 'user.roles-changed', userId: id, roles }];
    });
  }

  /** @throws DomainError `last-admin` */
  async deactivate(id: string): Promise<User> {
    return this.changeAmongAdmins(id, undefined, async (user, otherAdmins, manager) => {
      if (user.status !== 'active') return [];
      assertOtherAdmin(user, otherAdmins);
      user.status = 'deactivated';
      await this.sessions.endWith(id, manager);
      await this.apiKeys.endWith(id, manager);
      return [{ type: 'user.deactivated', userId: id }];
    });
  }

  /**
   * Leaves nothing of the person but the id, here and in all that was sealed under their key, and ends sign-in. The log
   * stays as it is. @throws DomainError `last-admin`
   */
  async erase(id: string): Promise<User> {
    return this.changeAmongAdmins(id, undefined, async (user, otherAdmins, manager) => {
      if (user.status === 'erased') return [];
      assertOtherAdmin(user, otherAdmins);
      await manager.update(User, id, { passwordHash: null });
      Object.assign(user, { email: null, name: erased, metadata: {}, roles: ['customer'], status: 'erased' });
      await this.sessions.erase(id, manager);
      await this.apiKeys.erase(id, manager);
      await this.personalData.erase(id, manager);
      return [{ type: 'user.erased', userId: id }];
    });
  }

  /**
   * Sets a new password, after `condition` has held in the same transaction. Ends all API keys, and all sessions except
   * the one that is named.
   *
   * @throws DomainError `password-elsewhere`: with a password, who has been locked out at the provider could still sign in
   */
  async setPassword(
    id: string,
    passwordHash: string,
    condition: (manager: EntityManager) => Promise<void>,
    exceptSession?: string,
  ): Promise<User> {
    return this.change(id, undefined, async (user, manager) => {
      assertNotErased(user);
      if (await this.isFederated(id, manager)) throw passwordElsewhere();
      await condition(manager);
      await manager.update(User, id, { passwordHash });
      await this.sessions.endWith(id, manager, exceptSession);
      await this.apiKeys.endWith(id, manager);
      return [{ type: 'user.password-changed', userId: id }];
    });
  }

  /** Records who issued a one-time code for the account. */
  async recordCode(id: string): Promise<User> {
    return this.change(id, undefined, async () => [{ type: 'user.code-issued', userId: id }]);
  }

  async anyAdmin(): Promise<boolean> {
    return this.users.createQueryBuilder('u').where(`'admin' = any(u.roles)`).getExists();
  }

  /** Also with its `passwordHash`, which is left out otherwise. */
  findByEmail(email: string, withPassword = false): Promise<User | null> {
    const query = this.users.createQueryBuilder('u');
    if (withPassword) query.addSelect('u.passwordHash');
    // An earlier release may have opened accounts for two spellings of one address. Then each has its own.
    return query
      .where('lower(u.email) in (lower(:typed), lower(:email))', { typed: email, email: canonicalText(email) })
      .orderBy('lower(u.email) = lower(:typed)', 'DESC')
      .limit(1)
      .getOne();
  }

  private change(
    id: string,
    expectedVersion: number | undefined,
    apply: (user: User, manager: EntityManager) => Promise<AccountEvent[]>,
  ): Promise<User> {
    return this.events.transaction(async (manager) => {
      const user = await manager.findOne(User, { where: { id }, lock: { mode: 'pessimistic_write' } });
      return save(user, id, expectedVersion, manager, (found) => apply(found, manager));
    });
  }

  /**
   * A change that may take an administrator away. Locks the account and all administrators in the order of their ids:
   * two who act on each other at once take turns, and the second finds out that it is the last one.
   */
  private changeAmongAdmins(
    id: string,
    expectedVersion: number | undefined,
    apply: (user: User, otherAdmins: readonly User[], manager: EntityManager) => Promise<AccountEvent[]>,
  ): Promise<User> {
    return this.events.transaction(async (manager) => {
      const locked = await manager
        .createQueryBuilder(User, 'u')
        .where(`u.id = :id or ('admin' = any(u.roles) and u.status = 'active' and ${ofThisServer})`, {
          id,
          decidedElsewhere: this.config.OIDC_ROLES !== undefined,
        })
        .orderBy('u.id')
        .setLock('pessimistic_write')
        .getMany();
      const user = locked.find((each) => each.id === id) ?? null;
      const otherAdmins = locked.filter((each) => each.id !== id);
      return save(user, id, expectedVersion, manager, (found) => apply(found, otherAdmins, manager));
    });
  }
}

/** With OIDC_ROLES, accounts of the provider have the roles that it says, whatever is stored here. */
const ofThisServer = 'not (:decidedElsewhere and exists (select from users.identities i where i.user_id = u.id))';

/** The rest of a change to a locked account: its event, its next version, and the end of its tokens where it calls for it. */
async function save(
  user: User | null,
  id: string,
  expectedVersion: number | undefined,
  manager: EntityManager,
  apply: (user: User) => Promise<AccountEvent[]>,
) {
  if (!user) throw unknownUser(id);
  if (expectedVersion !== undefined && expectedVersion !== user.version) {
    throw new VersionMismatch(expectedVersion, user.version);
  }
  const events = await apply(user);
  if (events.length === 0) return { result: user, announce: [] };
  user.version += events.length;
  if (events.some(({ type }) => (tokenVoidingEvents as readonly string[]).includes(type))) {
    user.tokensVoidBelow = user.version;
    user.tokensVoidedAt = new Date();
  }
  await manager.save(user);
  return { result: user, announce: events.map(announce) };
}

function announce(event: AccountEvent) {
  return { aggregate: { type: 'user', id: event.userId }, events: [event] };
}

function unknownUser(id: string): DomainError {
  return new DomainError('not-found', 'user-unknown', `There is no user ${id}.`);
}

/** Why an account of the identity provider gets no password here. */
export function passwordElsewhere(): DomainError {
  const message = 'This account has no password here: it signs in with the identity provider.';
  return new DomainError('conflict', 'password-elsewhere', message);
}

/** What was changed here would have no effect: tokens of the provider say the roles. */
function rolesElsewhere(): DomainError {
  const message = 'The roles of this account come from the identity provider (OIDC_ROLES): change them there.';
  return new DomainError('conflict', 'roles-elsewhere', message);
}

function assertNotErased({ status }: User): void {
  if (status !== 'erased') return;
  throw new DomainError('conflict', 'user-erased', 'This account has been erased: there is nothing left to change.');
}

function sameRoles(a: readonly Role[], b: readonly Role[]): boolean {
  return a.length === b.length && a.every((role) => b.includes(role));
}

function assertOtherAdmin({ roles }: User, otherAdmins: readonly User[]): void {
  if (!roles.includes('admin') || otherAdmins.length > 0) return;
  throw new DomainError('conflict', 'last-admin', 'This is the last administrator: make somebody else one first.');
}

function isUniqueViolation(error: unknown): boolean {
  return error instanceof QueryFailedError && (error.driverError as { code?: string }).code === '23505';
}
