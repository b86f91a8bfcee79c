import { randomUUID } from 'node:crypto';
import { Injectable, Logger, type BeforeApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { Database } from '../../kernel/database/database';
import { RepeatedWarning } from '../../kernel/repeated-warning';
import { within } from '../../kernel/time-limit';
import { type Lease, type Limit, PermitStore, type Returned } from './permit-store';

export interface Verdict {
  readonly allowed: boolean;
  /** Permits that are left, as far as this process knows: not those that others have leased and not used. */
  readonly remaining: number;
  readonly resetsInMs: number;
}

/** How long requests wait for the database before this process decides alone, in ms. */
const patienceMs = 1000;
/** How often a process that has unused permits looks whether others need them, in ms. */
const lookMs = 100;
/** How long those who need them wait, and how often they ask meanwhile, in ms. */
const recallMs = 1000;
const askAgainMs = 25;
/** While the database is away: how often this process tries it, in ms. */
const retryMs = 1000;
const sweepMs = 60_000;
/** Keys of one statement, and of this process. */
const maxBatch = 500;
const maxAccounts = 50_000;

/** What this process knows of one key in its current window. */
interface Account {
  readonly key: string;
  limit: Limit;
  window: string;
  /** When the window ends at the latest, in ms of `performance.now()`. */
  endsAt: number;
  /** Permits that are leased and not used. */
  unused: number;
  /** Permits that nobody had leased when this process last asked. */
  rest: number;
  /** What this process has allowed. */
  spent: number;
  /** Until when no permit can be had, in ms of `performance.now()`. */
  exhaustedUntil: number;
  /** Until when it waits for what others give back; undefined before it had to. */
  patientUntil: number | undefined;
  readonly waiting: ((verdict: Verdict) => void)[];
}

/**
 * Counts requests for all processes, exactly, and mostly without a query: a process leases permits in blocks, and gives
 * back what it has not used when another one needs it. See ADR 27.
 *
 * One statement is on its way at a time; whatever is asked meanwhile goes into the next.
 */
@Injectable()
export class Permits implements OnModuleInit, BeforeApplicationShutdown {
  private readonly store: PermitStore;
  private readonly accounts = new Map<string, Account>();
  private readonly needy = new Set<Account>();
  /** Given up to make room: their unused permits go back. */
  private evicted: Account[] = [];
  private working: Promise<void> | undefined;
  private timers: NodeJS.Timeout[] = [];
  /** Until when this process may have unused permits, in ms of `performance.now()`. */
  private holdsUntil = 0;
  /** When this process last looked what others need, in ms of `performance.now()`. */
  private lookedAt = 0;
  private mustLook = false;
  private isAlone = false;
  private readonly trouble = new RepeatedWarning(
    new Logger('RateLimits'),
    'The database does not count requests: each process counts its own, trying again',
  );

  constructor(database: Database) {
    this.store = new PermitStore(database, randomUUID());
  }

  onModuleInit(): void {
    this.timers = [
      setInterval(() => this.look(), lookMs).unref(),
      setInterval(() => void this.sweep(), sweepMs).unref(),
    ];
  }

  async beforeApplicationShutdown(): Promise<void> {
    for (const timer of this.timers) clearInterval(timer);
    for (const account of this.accounts.values()) if (account.unused > 0) this.evicted.push(account);
    this.accounts.clear();
    await this.work();
  }

  /** One permit, of this process's own if it has one. */
  take(key: string, limit: Limit): Verdict | Promise<Verdict> {
    const now = performance.now();
    const account = this.accounts.get(key) ?? this.open(key, limit);
    account.limit = limit;
    if (account.endsAt > now) {
      if (account.unused > 0) return allow(account, now);
      if (account.exhaustedUntil > now) return refuse(account, now);
    }
    if (this.isAlone) return decideAlone(account, now);
    return new Promise((resolve) => {
      account.waiting.push(resolve);
      this.need(account);
    });
  }

  private open(key: string, limit: Limit): Account {
    for (const [oldest, account] of this.accounts) {
      if (this.accounts.size < maxAccounts) break;
      if (account.waiting.length > 0) continue;
      this.accounts.delete(oldest);
      if (account.unused > 0) this.evicted.push(account);
    }
    const account: Account = {
      key,
      limit,
      window: '',
      endsAt: 0,
      unused: 0,
      rest: 0,
      spent: 0,
      exhaustedUntil: 0,
      patientUntil: undefined,
      waiting: [],
    };
    this.accounts.set(key, account);
    return account;
  }

  private need(account: Account): void {
    this.needy.add(account);
    void this.work();
  }

  private work(): Promise<void> {
    return (this.working ??= this.rounds());
  }

  private async rounds(): Promise<void> {
    // together with what else this turn of the event loop brings
    await new Promise(setImmediate);
    try {
      while (this.mustLook || this.needy.size > 0 || this.evicted.length > 0) {
        if (this.mustLook) await this.answerRecalls();
        if (this.evicted.length > 0) await this.giveBack(this.evicted.splice(0, maxBatch).map(unusedOf));
        if (this.needy.size > 0) await this.lease([...this.needy].slice(0, maxBatch));
      }
    } finally {
      // not later: what is needed from now on begins the next one
      this.working = undefined;
    }
  }

  private async lease(accounts: readonly Account[]): Promise<void> {
    for (const account of accounts) this.needy.delete(account);
    const asked = accounts.map(({ key, limit, waiting }) => ({ key, ...limit, wanted: waiting.length }));
    const sentAt = performance.now();
    const leases = this.isAlone ? undefined : await this.attempt(() => this.store.lease(asked));
    const found = new Map(leases?.map((lease) => [lease.key, lease]));
    for (const [nth, account] of accounts.entries()) {
      const lease = found.get(account.key);
      if (lease) this.receive(account, lease, sentAt, asked[nth]!.wanted);
      else settle(account, decideAlone);
    }
  }

  private receive(account: Account, lease: Lease, sentAt: number, wanted: number): void {
    if (account.window !== lease.window) begin(account, lease.window);
    const now = performance.now();
    // counted from when it was asked for: never later than the database's own end of the window
    account.endsAt = sentAt + lease.secondsLeft * 1000;
    account.rest = lease.rest;
    account.unused = account.endsAt > now ? account.unused + lease.lease : 0;
    settle(account, allow, account.unused);
    if (account.unused > 0) this.holdsUntil = Math.max(this.holdsUntil, account.endsAt);
    if (account.waiting.length === 0) return;
    // the window is over already, or there are more of them than when it was asked
    if (account.endsAt <= now || lease.lease >= wanted) return void this.needy.add(account);
    account.patientUntil ??= now + recallMs;
    if (lease.otherHolders > 0 && now < account.patientUntil) {
      setTimeout(() => this.need(account), askAgainMs);
      return;
    }
    account.exhaustedUntil = lease.otherHolders > 0 ? now + recallMs : account.endsAt;
    settle(account, refuse);
  }

  private look(): void {
    const now = performance.now();
    this.mustLook ||= this.isAlone ? now > this.lookedAt + retryMs : now < this.holdsUntil;
    if (this.mustLook) void this.work();
  }

  /** Gives back what others need, and finds out whether the database is there again. */
  private async answerRecalls(): Promise<void> {
    this.mustLook = false;
    const recalled = await this.attempt(() => this.store.recalled());
    if (!recalled || recalled.length === 0) return;
    await this.giveBack(
      recalled.map(({ key, window }) => {
        const account = this.accounts.get(key);
        return account?.window === window ? unusedOf(account) : { key, window, unused: 0 };
      }),
    );
  }

  private async giveBack(returned: readonly Returned[]): Promise<void> {
    if (!this.isAlone) await this.attempt(() => this.store.giveBack(returned));
  }

  /** @returns undefined when the database does not answer: from then on this process decides alone */
  private async attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      const result = await within(patienceMs, 'Counting requests', work);
      this.isAlone = false;
      this.trouble.over();
      return result;
    } catch (error) {
      this.isAlone = true;
      this.lookedAt = performance.now();
      this.trouble.warn(error);
      return undefined;
    }
  }

  private async sweep(): Promise<void> {
    const now = performance.now();
    for (const [key, account] of this.accounts) {
      if (account.endsAt <= now && account.waiting.length === 0) this.accounts.delete(key);
    }
    await this.store.sweep().catch((error: unknown) => this.trouble.warn(error));
  }
}

function begin(account: Account, window: string): void {
  Object.assign(account, { window, unused: 0, spent: 0, exhaustedUntil: 0, patientUntil: undefined });
}

function allow(account: Account, now: number): Verdict {
  account.unused--;
  account.spent++;
  return { allowed: true, remaining: account.unused + account.rest, resetsInMs: account.endsAt - now };
}

/** From here on they are no longer ours, whether the database hears of it or not. */
function unusedOf(account: Account): Returned {
  const { key, window, unused } = account;
  account.unused = 0;
  return { key, window, unused };
}

function refuse(account: Account, now: number): Verdict {
  return { allowed: false, remaining: 0, resetsInMs: account.endsAt - now };
}

/** Without the database: as many as if this were the only process. */
function decideAlone(account: Account, now: number): Verdict {
  const { quota, seconds } = account.limit;
  if (account.endsAt <= now) {
    begin(account, '');
    account.endsAt = now + seconds * 1000;
  }
  if (account.spent >= quota) return refuse(account, now);
  account.spent++;
  return { allowed: true, remaining: quota - account.spent, resetsInMs: account.endsAt - now };
}

/** Answers those who wait, the first first. */
function settle(account: Account, decide: (account: Account, now: number) => Verdict, atMost = Infinity): void {
  const now = performance.now();
  for (const answer of account.waiting.splice(0, atMost)) answer(decide(account, now));
}
