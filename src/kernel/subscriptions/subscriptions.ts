import { type BeforeApplicationShutdown, Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { DiscoveryService } from '@nestjs/core';
import { currentContext } from '../context';
import { Database } from '../database/database';
import type { StoredEvent } from '../event-store/event';
import { EventStore } from '../event-store/event-store';
import { Leases } from './leases';
import { LogTail } from './log-tail';
import { PROJECTION, type Projection } from './projection';
import { ProjectionRunner } from './projection-runner';
import { REACTION, type Handler, type ReactionMetadata } from './reaction';
import { ReactionRunner } from './reaction-runner';
import type { RetryOptions, Runner, RunnerDependencies } from './runner';

export const RETRY_OPTIONS = Symbol('subscriptions.retry');

export const defaultRetry: RetryOptions = { attempts: 8, backoffMs: 50, maxBackoffMs: 5000 };

/** How long a caller waits for the views to show what it wrote, in ms. */
const readYourWritesMs = 5000;

export interface SubscriptionStatus {
  readonly name: string;
  readonly kind: 'projection' | 'reaction';
  readonly position: number;
  /** Events in the log that it has not handled yet. */
  readonly lag: number;
  readonly owner: string | null;
  readonly deadLetters: number;
  readonly updatedAt: Date;
}

/** Finds all projections and reactions of the app, and runs those that this process may. */
@Injectable()
export class Subscriptions implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly runners = new Map<string, Runner>();
  private readonly tail: LogTail;
  private readonly leases: Leases;

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly database: Database,
    private readonly store: EventStore,
    @Inject(RETRY_OPTIONS) private readonly retry: RetryOptions,
  ) {
    this.tail = new LogTail(store);
    this.leases = new Leases(database.url, this.runners);
  }

  async onApplicationBootstrap(): Promise<void> {
    this.discover();
    await this.tail.start();
    await this.leases.start();
  }

  /** Before, since on shutdown the connections close, which finishing what is in hand needs. */
  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all([...this.runners.values()].map((runner) => runner.stop()));
    await this.leases.stop();
    await this.tail.stop();
  }

  /**
   * Waits until the views show what the current context (an HTTP request) has appended. Bounded: when a view is
   * stuck, an old answer is better than none.
   */
  async readYourWrites(): Promise<void> {
    const { lastPosition } = currentContext();
    if (lastPosition === 0) return;
    await this.projected(lastPosition, readYourWritesMs);
  }

  /** @returns false when the views of this log position took longer than `timeoutMs` */
  async projected(position: number, timeoutMs: number): Promise<boolean> {
    const deadline = Date.now() + timeoutMs;
    const projections = [...this.runners.values()].filter((runner) => runner.kind === 'projection');
    const mine = projections.filter((runner) => runner.active);
    const others = projections.filter((runner) => !runner.active).map((runner) => runner.name);
    const reached = Promise.all([
      this.reachedElsewhere(others, position, deadline),
      ...mine.map((runner) => runner.reached(position)),
    ]).then(([elsewhere]) => elsewhere);
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<false>((resolve) => (timer = setTimeout(() => resolve(false), timeoutMs)));
    return Promise.race([reached, timeout]).finally(() => clearTimeout(timer));
  }

  /**
   * The next event that matches, or undefined after `timeoutMs` or when nobody waits any more (`signal`). Hears only what happens while this process lives:
   * for whoever waits at a connection, never for work that has to be done.
   */
  next(
    matches: (event: StoredEvent) => boolean,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<StoredEvent | undefined> {
    return new Promise((resolve) => {
      const finish = (event?: StoredEvent) => {
        stop();
        clearTimeout(timer);
        resolve(event);
      };
      const stop = this.tail.listen((event) => matches(event) && finish(event));
      const timer = setTimeout(finish, timeoutMs);
      signal?.addEventListener('abort', () => finish(), { once: true });
    });
  }

  /** Resolves when every subscription has handled all that is in the log, and nothing new came of it. */
  async idle(): Promise<void> {
    for (let head = await this.store.head(); ;) {
      const position = head;
      await Promise.all([...this.runners.values()].map((runner) => runner.reached(position)));
      head = await this.store.head();
      if (head === position) return;
    }
  }

  async status(): Promise<SubscriptionStatus[]> {
    const { rows } = await this.database.pool.query<SubscriptionStatus>(
      `select c.name, c.kind, c.position::float8 as position, c.owner, c.updated_at as "updatedAt",
              ((select coalesce(max(position), 0) from event_store.events) - c.position)::float8 as lag,
              (select count(*) from subscriptions.dead_letters d
               where d.subscription = c.name and d.state in ('failed', 'parked'))::int as "deadLetters"
       from subscriptions.checkpoints c order by c.name`,
    );
    // The stored checkpoint trails the worker's own by design; what this process runs, it knows better.
    return rows.map((row) => {
      const runner = this.runners.get(row.name);
      if (!runner?.active) return row;
      const position = Math.max(row.position, runner.position);
      return { ...row, position, lag: Math.max(0, this.tail.head - position) };
    });
  }

  private discover(): void {
    const deps: RunnerDependencies = {
      database: this.database,
      store: this.store,
      tail: this.tail,
      retry: this.retry,
      forget: (name) => this.leases.forget(name),
    };
    for (const { metatype, instance } of this.discovery.getProviders()) {
      if (typeof metatype !== 'function') continue;
      const reaction = Reflect.getMetadata(REACTION, metatype) as ReactionMetadata | undefined;
      const projection = Reflect.getMetadata(PROJECTION, metatype) as string | undefined;
      if (reaction) this.add(new ReactionRunner(reaction, instance as Handler, deps));
      if (projection) this.add(new ProjectionRunner(projection, instance as Projection, deps));
    }
  }

  private add(runner: Runner): void {
    if (this.runners.has(runner.name)) throw new Error(`Two subscriptions are named ${runner.name}`);
    this.runners.set(runner.name, runner);
  }

  /** Another process runs these; their checkpoints tell. */
  private async reachedElsewhere(names: string[], position: number, deadline: number): Promise<boolean> {
    if (names.length === 0) return true;
    while (Date.now() < deadline) {
      const { rowCount } = await this.database.pool.query(
        'select 1 from subscriptions.checkpoints where name = any($1) and position < $2 limit 1',
        [names, position],
      );
      if (rowCount === 0) return true;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return false;
  }
}
