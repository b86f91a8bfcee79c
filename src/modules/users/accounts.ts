import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { hash, verify } from '@node-rs/argon2';
import { type EntityManager, QueryFailedError, Repository } from 'typeorm';
import { currentContext } from '../../kernel/context';
import { DomainError } from '../../kernel/domain-error';
import { VersionMismatch } from '../../kernel/event-store/errors';
import { EventStore } from '../../kernel/event-store/event-store';
import type { Role } from '../../kernel/http/principal';
import { PersonalData } from '../../kernel/personal-data/personal-data';
import { erased } from '../../kernel/personal-data/sealed';
import { User } from './user.entity';

/** OWASP's first choice for argon2id: 19 MiB, 2 passes, 1 lane; ids of algorithm and version are the library's defaults. */
const argon2id = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

/** Of no password; verified when there is no account, so that the answer takes as long as for a wrong password. */
const decoy = '$argon2id$v=19$m=19456,t=2,p=1$aqbmHXuLhaoIVv9EsoqMiw$OHBWkimX5qoIJZliWRNQuzyliw+/y6H48+0i6DVbLGA';

/** Accounts: rows, changed together with the event that says so. No event carries a name or an address. */
@Injectable()
export class Accounts {
  constructor(
    @InjectRepository(User) private readonly users: Repository<User>,
    private readonly events: EventStore,
    private readonly personalData: PersonalData,
  ) {}

  find(id: string): Promise<User | null> {
    return this.users.findOneBy({ id });
  }

  async get(id: string): Promise<User> {
    const user = await this.find(id);
    if (!user) throw unknownUser(id);
    return user;
  }

  /** Newest first, `limit` of them behind the one with id `after`. */
  list(limit: number, after?: string): Promise<User[]> {
    const query = this.users
      .createQueryBuilder('u')
      .orderBy('u.createdAt', 'DESC')
      .addOrderBy('u.id', 'DESC')
      .limit(limit);
    if (after)
      query.where('(u.createdAt, u.id) < (select a.created_at, a.id from users.users a where a.id = :after)', {
        after,
      });
    return query.getMany();
  }

  async register(
    email: string,
    name: string,
    password: string | undefined,
    roles: Role[] = ['customer'],
  ): Promise<string> {
    const id = currentContext().nextId('user');
    const passwordHash = password === undefined ? null : await hash(password, argon2id);
    try {
      await this.events.transaction(async (manager) => {
        const user = { id, email, name, passwordHash, roles, status: 'active' as const, version: 1 };
        await manager.insert(User, user);
        return { result: id, announce: [announce(id, { type: 'user.registered', userId: id, roles })] };
      });
    } catch (error) {
      if (!isUniqueViolation(error)) throw error;
      // the same request, told again: it is this very account
      if (await this.users.existsBy({ id })) return id;
      throw new DomainError(
        'conflict',
        'email-taken',
        'There is an account with this e-mail address already: sign in.',
      );
    }
    return id;
  }

  async rename(id: string, name: string, expectedVersion: number): Promise<User> {
    return this.change(id, expectedVersion, async (user) => {
      assertNotErased(user);
      if (user.name === name) return [];
      user.name = name;
      return [{ type: 'user.profile-changed', userId: id }];
    });
  }

  /** @throws DomainError `last-admin` when nobody could manage accounts any more */
  async assignRoles(id: string, roles: Role[], expectedVersion: number | undefined): Promise<User> {
    return this.change(id, expectedVersion, async (user, manager) => {
      assertNotErased(user);
      if (sameRoles(user.roles, roles)) return [];
      if (user.roles.includes('admin') && !roles.includes('admin')) await assertOtherAdmin(manager, id);
      user.roles = roles;
      return [{ type: 'user.roles-changed', userId: id, roles }];
    });
  }

  async deactivate(id: string): Promise<User> {
    return this.change(id, undefined, async (user, manager) => {
      if (user.status !== 'active') return [];
      if (user.roles.includes('admin')) await assertOtherAdmin(manager, id);
      user.status = 'deactivated';
      return [{ type: 'user.deactivated', userId: id }];
    });
  }

  /**
   * Of the person nothing is left but the id, here and in all that was sealed under their key; sign-in ends. The log
   * stays as it is. @throws DomainError `last-admin`
   */
  async erase(id: string): Promise<User> {
    return this.change(id, undefined, async (user, manager) => {
      if (user.status === 'erased') return [];
      if (user.roles.includes('admin')) await assertOtherAdmin(manager, id);
      await manager.update(User, id, { passwordHash: null });
      Object.assign(user, { email: null, name: erased, roles: ['customer'], status: 'erased' });
      await this.personalData.erase(id, manager);
      return [{ type: 'user.erased', userId: id }];
    });
  }

  async verify(email: string, password: string): Promise<User | undefined> {
    const user = await this.users
      .createQueryBuilder('u')
      .addSelect('u.passwordHash')
      .where('lower(u.email) = lower(:email)', { email })
      .getOne();
    const right = await verify(user?.passwordHash ?? decoy, password);
    return right && user?.passwordHash && user.status === 'active' ? user : undefined;
  }

  async anyAdmin(): Promise<boolean> {
    return this.users.createQueryBuilder('u').where(`'admin' = any(u.roles)`).getExists();
  }

  private async change(
    id: string,
    expectedVersion: number | undefined,
    apply: (user: User, manager: EntityManager) => Promise<{ type: string; userId: string; roles?: Role[] }[]>,
  ): Promise<User> {
    return this.events.transaction(async (manager) => {
      const user = await manager.findOne(User, { where: { id }, lock: { mode: 'pessimistic_write' } });
      if (!user) throw unknownUser(id);
      if (expectedVersion !== undefined && expectedVersion !== user.version) {
        throw new VersionMismatch(expectedVersion, user.version);
      }
      const events = await apply(user, manager);
      if (events.length === 0) return { result: user, announce: [] };
      user.version += 1;
      await manager.save(user);
      return { result: user, announce: events.map((event) => announce(id, event)) };
    });
  }
}

function announce(id: string, event: { type: string; userId: string; roles?: Role[] }) {
  return { aggregate: { type: 'user', id }, events: [event] };
}

function unknownUser(id: string): DomainError {
  return new DomainError('not-found', 'user-unknown', `There is no user ${id}.`);
}

function assertNotErased({ status }: User): void {
  if (status !== 'erased') return;
  throw new DomainError('conflict', 'user-erased', 'This account has been erased: there is nothing left to change.');
}

function sameRoles(a: readonly Role[], b: readonly Role[]): boolean {
  return a.length === b.length && a.every((role) => b.includes(role));
}

/** Locks all admins, in order, so that two cannot demote each other at once. */
async function assertOtherAdmin(manager: EntityManager, id: string): Promise<void> {
  const admins = await manager
    .createQueryBuilder(User, 'u')
    .where(`'admin' = any(u.roles) and u.status = 'active'`)
    .orderBy('u.id')
    .setLock('pessimistic_write')
    .getMany();
  if (admins.some((admin) => admin.id !== id)) return;
  throw new DomainError('conflict', 'last-admin', 'This is the last administrator: make somebody else one first.');
}

function isUniqueViolation(error: unknown): boolean {
  return error instanceof QueryFailedError && (error.driverError as { code?: string }).code === '23505';
}
