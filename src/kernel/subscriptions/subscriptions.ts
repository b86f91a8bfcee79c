import { setTimeout as delay } from 'node:timers/promises';
import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { DiscoveryService } from '@nestjs/core';
import { currentContext } from '../context';
import { Database } from '../database/database';
import { DomainError } from '../domain-error';
import type { StoredEvent } from '../event-store/event';
import { EventStore } from '../event-store/event-store';
import { Followers } from './followers';
import { Leases, newsChannel, type SubscriptionEntry } from './leases';
import { LogHistory } from './log-history';
import { LogTail, type LostEvents } from './log-tail';
import { PROJECTION, type Projection, type ProjectionMetadata } from './projection';
import { ProjectionRunner } from './projection-runner';
import { REACTION, type Handler, type ReactionMetadata } from './reaction';
import { ReactionRunner } from './reaction-runner';
import { RebuildRunner, rebuildOf } from './rebuild-runner';
import { type RetryOptions, type Runner, type RunnerDependencies, schemaVersions, type Share } from './runner';

export const RETRY_OPTIONS = Symbol('subscriptions.retry');
export const NOTIFY = Symbol('subscriptions.notify');

export const defaultRetry: RetryOptions = {
  attempts: 8,
  backoffMs: 50,
  maxBackoffMs: 5000,
  patienceMs: 24 * 3_600_000,
  deliveryMs: 60_000,
};

/** How long a caller waits for the views to show what it wrote, in ms. */
const readYourWritesMs = 5000;

export interface SubscriptionStatus {
  readonly name: string;
  readonly segment: number;
  readonly kind: 'projection' | 'reaction';
  readonly position: number;
  /** Events in the log that it has not handled yet. */
  readonly lag: number;
  /** How long the oldest of them has been in the log; 0 when there are none. */
  readonly lagSeconds: number;
  /** Events handled a second, lately, by this process. */
  readonly ratePerSecond: number;
  /** Events handled, and tries repeated, by this process since it began. */
  readonly handled: number;
  readonly retries: number;
  /** Events in hand in this process that wait for the database, or for a target that is not ready. */
  readonly waiting: number;
  readonly owner: string | null;
  /** Why a rebuild failed the last time; it is tried again. */
  readonly error: string | null;
  readonly pausedBy: string | null;
  readonly retiredBy: string | null;
  readonly deadLetters: number;
  readonly parkedPartitions: number;
  readonly updatedAt: Date;
}

/** What this process does for a subscription, and has done since it began. */
export interface SubscriptionWork {
  readonly name: string;
  readonly segment: number;
  readonly owned: boolean;
  readonly handled: number;
  readonly retries: number;
  readonly waiting: number;
}

/** How long something may stand still before this process is not ready, in ms. */
const notReadyAfterMs = { database: 5000, failing: 2000, subscription: 15_000 };
/** How long what is in hand may take at shutdown before the leases are given back all the same, in ms. */
const drainMs = 5000;
const remindMs = 60_000;

/** Commits within this time are one piece of news to the other processes, in ms. */
const newsEveryMs = 5;
const rateWindowMs = 10_000;

/** Finds all projections and reactions of the app, and runs those that this process may. */
@Injectable()
export class Subscriptions implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger('Subscriptions');
  private readonly runners: Runner[] = [];
  /** Idle but while there is a checkpoint of their name: see {@link rebuild}. */
  private readonly rebuilds: RebuildRunner[] = [];
  private readonly projections = new Map<string, ProjectionMetadata>();
  private readonly reactions = new Set<string>();
  private readonly tail: LogTail;
  private readonly leases: Leases;
  private readonly followers: Followers;
  private readonly rates = new Map<Runner, { at: number; count: number; rate: number }>();
  private news: NodeJS.Timeout | undefined;
  private readonly timers: NodeJS.Timeout[] = [];

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly database: Database,
    private readonly store: EventStore,
    @Inject(RETRY_OPTIONS) private readonly retry: RetryOptions,
    @Inject(NOTIFY) notify: boolean,
    private readonly history: LogHistory,
  ) {
    this.tail = new LogTail(store, notify ? () => this.tell() : undefined, (lost) => this.lost(lost));
    this.leases = new Leases(
      database.url,
      notify
        ? { committed: () => this.tail.poke(), seen: (pid, position) => this.followers.seen(pid, position) }
        : undefined,
    );
    this.followers = new Followers(database, this.tail, this.leases);
  }

  async onApplicationBootstrap(): Promise<void> {
    const found = this.discover();
    const segments = await this.leases.register(found.map(({ entry }) => entry));
    for (const { entry, run } of found) {
      const count = segments.get(entry.name) ?? entry.segments;
      if (count !== entry.segments) {
        this.logger.warn(`${entry.name} keeps the ${count} segments that it began with, not ${entry.segments}`);
      }
      for (let segment = 0; segment < count; segment++) this.runners.push(run({ segment, segments: count }));
    }
    await this.rebuildOutdated();
    await this.correctCheckpoints();
    await this.tail.start();
    await this.leases.start([...this.runners, ...this.rebuilds]);
    this.timers.push(
      setInterval(() => this.sample(), rateWindowMs / 2).unref(),
      setInterval(() => void this.remind(), remindMs).unref(),
    );
  }

  /**
   * Before, since on shutdown the connections close, which finishing what is in hand needs. The leases are given back as
   * soon as it is finished, or after a moment: others go on with what does not end here.
   */
  async beforeApplicationShutdown(): Promise<void> {
    for (const timer of this.timers) clearInterval(timer);
    const finished = Promise.all([...this.runners, ...this.rebuilds].map((runner) => runner.stop()));
    await Promise.race([finished, delay(drainMs, undefined, { ref: false })]);
    await this.leases.stop();
    await finished;
    await this.tail.stop();
    clearTimeout(this.news);
  }

  /**
   * Waits until the views show what the current context (an HTTP request) has appended. Bounded, and once for the same
   * events: when a view is stuck or cannot be asked, an old answer is better than none.
   */
  async readYourWrites(): Promise<void> {
    const context = currentContext();
    const { lastPosition } = context;
    if (lastPosition <= context.awaitedPosition) return;
    context.awaitedPosition = lastPosition;
    await this.projected(lastPosition, readYourWritesMs).catch(() => false);
    await this.followers.informed(lastPosition);
  }

  /**
   * Calls `listener` for every event of these types that is committed from now on, by whichever process, in order. For
   * caches in memory: nothing is stored, and a new process begins at the end of the log. A request that appended such an
   * event is answered when all processes have seen it. `forget` is called when the log has lost events: what came of them
   * is to be read anew. Neither may throw.
   *
   * @returns ends it
   */
  follow(types: readonly string[], listener: (event: StoredEvent) => void, forget: () => void): () => void {
    return this.followers.follow(types, listener, forget);
  }

  /** True when followers of this process may have missed events, so that what they know must not be relied on. */
  get areFollowersStale(): boolean {
    return this.followers.areStale;
  }

  /** @returns false when the views of this log position took longer than `timeoutMs` */
  async projected(position: number, timeoutMs: number): Promise<boolean> {
    const deadline = Date.now() + timeoutMs;
    const projections = this.runners.filter((runner) => runner instanceof ProjectionRunner && runner.awaited);
    const mine = projections.filter((runner) => runner.active);
    const others = projections.filter((runner) => !runner.active);
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
      await Promise.all(this.runners.map((runner) => runner.reached(position)));
      head = await this.store.head();
      if (head === position) return;
    }
  }

  /**
   * What keeps this process from doing its work: part by part, with the reason. Asks nobody, so it answers at once also
   * while the database is away.
   */
  obstacles(): ReadonlyMap<string, string> {
    const found = new Map<string, string>();
    const { database, failing, subscription } = notReadyAfterMs;
    const seconds = (ms: number) => `${Number.isFinite(ms) ? Math.round(ms / 1000) : 'many'} s`;
    const { silentMs } = this.leases;
    if (silentMs > database) found.set('leases', `not renewed for ${seconds(silentMs)}: the database takes no writes`);
    const { behindMs } = this.tail;
    const { unansweredMs, failingMs } = this.store.appendStats;
    if (behindMs > database) found.set('log', `not read for ${seconds(behindMs)}`);
    else if (unansweredMs > database) found.set('log', `has not answered an append for ${seconds(unansweredMs)}`);
    else if (failingMs > failing) found.set('log', `has refused all appends for ${seconds(failingMs)}`);
    for (const { name, stalledMs } of [...this.runners, ...this.rebuilds]) {
      if (stalledMs > subscription) found.set(name, `stands still for ${seconds(stalledMs)}`);
    }
    for (const name of this.leases.unownedFor(subscription)) found.set(name, 'is run by no process');
    return found;
  }

  async status(): Promise<SubscriptionStatus[]> {
    const { rows } = await this.database.pool.query<SubscriptionStatus & { readonly head: number }>(
      `select c.name, c.segment::int as segment, c.kind, c.position::float8 as position, c.owner, c.error, c.paused_by as "pausedBy",
              c.retired_by as "retiredBy", c.updated_at as "updatedAt", greatest(head.position - c.position, 0)::float8 as lag, head.position::float8 as head,
              coalesce((select extract(epoch from clock_timestamp() - e.recorded_at) from event_store.events e
                        where e.position = c.position + 1), 0)::float8 as "lagSeconds",
              0::float8 as "ratePerSecond", 0 as handled, 0 as retries, 0 as waiting,
              d.letters as "deadLetters", d.partitions as "parkedPartitions"
       from subscriptions.checkpoints c,
            (select coalesce(max(position), 0) as position from event_store.events) head,
            lateral (select count(*)::int as letters, count(distinct partition)::int as partitions
                     from subscriptions.dead_letters d
                     where d.subscription = c.name and d.state in ('failed', 'parked')) d
       order by c.name, c.segment`,
    );
    // The stored checkpoint trails the worker's own by design; what this process runs, it knows better.
    return rows.map(({ head, ...row }) => {
      const runner = [...this.runners, ...this.rebuilds].find(
        ({ name, segment }) => name === row.name && segment === row.segment,
      );
      if (!runner) return row;
      const { count: handled, retries, waiting } = runner;
      const work = { handled, retries, waiting };
      if (!runner.active) return { ...row, ...work };
      const position = Math.max(row.position, runner.position);
      const lag = Math.max(0, head - position);
      const ratePerSecond = this.rates.get(runner)?.rate ?? 0;
      return { ...row, position, lag, lagSeconds: lag === 0 ? 0 : row.lagSeconds, ratePerSecond, ...work };
    });
  }

  /** Asks nobody, so it answers also while the database is away. */
  work(): SubscriptionWork[] {
    const rebuilds = this.rebuilds.filter((runner) => runner.active || runner.count > 0);
    return [...this.runners, ...rebuilds].map(({ name, segment, active: owned, count: handled, retries, waiting }) => {
      return { name, segment, owned, handled, retries, waiting };
    });
  }

  /** Log position of the newest event that this process knows of. */
  get head(): number {
    return this.tail.head;
  }

  /** Nobody runs it until it is resumed; takes effect within a second. @throws DomainError `subscription-unknown` */
  pause(name: string, by: string): Promise<void> {
    return this.setPaused(name, by, by);
  }

  /** @throws DomainError `subscription-unknown` */
  resume(name: string, by: string): Promise<void> {
    return this.setPaused(name, null, by);
  }

  /**
   * Ends a subscription that no program handles any more: its lag is no reason for an alert from then on. A program that
   * does handle it takes it up again, from where it stood.
   *
   * @throws DomainError `subscription-unknown`; `subscription-in-use` (conflict) while a process runs it, and for what this
   *   program handles itself, rebuilds of its views among them
   */
  async retire(name: string, by: string): Promise<void> {
    const { rows } = await this.database.control.query<{ retired: boolean }>(
      `with retired as (
         update subscriptions.checkpoints set retired_by = $2, retired_at = clock_timestamp(), owner = null, lease_until = null
         where name = $1 and name <> all($3) and coalesce(lease_until, '-infinity') < clock_timestamp() returning 1)
       select exists (select from retired) as retired from subscriptions.checkpoints where name = $1`,
      [name, by, [...this.runners, ...this.rebuilds].map((runner) => runner.name)],
    );
    if (rows.length === 0) throw unknownSubscription(name);
    if (!rows[0]!.retired) {
      const detail = `A process handles ${name}: only what no program handles any more can be retired.`;
      throw new DomainError('conflict', 'subscription-in-use', detail);
    }
    this.logger.log(`${name} retired by ${by}`);
  }

  /**
   * Makes a view anew from the whole log, beside the live one; its progress is that of the subscription `name/rebuild`.
   * A rebuild under way begins anew. The newest version that any process knows is the one that is built.
   *
   * @throws DomainError `subscription-unknown`, `not-a-projection` (conflict): what a reaction did was done in the world
   */
  async rebuild(name: string): Promise<void> {
    if (this.reactions.has(name)) {
      throw new DomainError('conflict', 'not-a-projection', `${name} is a reaction: its effects are not repeated.`);
    }
    const projection = this.projections.get(name);
    if (!projection) throw unknownSubscription(name);
    await this.database.control.query(
      `insert into subscriptions.checkpoints as c (name, kind, version)
       select $1, 'projection', greatest($3::int, max(version)) from subscriptions.checkpoints where name = $2
       on conflict (name, segment) do update
         set position = 0, version = greatest(c.version, excluded.version), error = null,
             epoch = c.epoch + 1, owner = null, lease_until = null, paused_by = null`,
      [rebuildOf(name), name, projection.version],
    );
  }

  /** Ends a rebuild; the live view stays as it is. @throws DomainError `rebuild-unknown` when there is none */
  async abandonRebuild(name: string, by: string): Promise<void> {
    const runner = this.rebuilds.find((each) => each.name === rebuildOf(name));
    if (!(await runner?.abandon())) {
      throw new DomainError('not-found', 'rebuild-unknown', `No rebuild of ${name} is under way.`);
    }
    this.logger.log(`The rebuild of ${name} was abandoned by ${by}`);
  }

  private async setPaused(name: string, pausedBy: string | null, by: string): Promise<void> {
    const { rowCount } = await this.database.control.query(
      'update subscriptions.checkpoints set paused_by = $2 where name = $1',
      [name, pausedBy],
    );
    if (rowCount === 0) throw unknownSubscription(name);
    this.logger.log(`${name} ${pausedBy === null ? 'resumed' : 'paused'} by ${by}`);
  }

  /** Stops all work that relies on events that are gone, and has it begin anew from what is stored. */
  private async lost(lost: LostEvents): Promise<void> {
    await this.leases.startOver();
    this.followers.forget();
    if (await this.history.record(lost, this.leases.owner)) {
      this.logger.error(
        `The log has lost the events ${lost.from} to ${lost.to}, as after a failover that lost commits or a restored ` +
          'backup. Subscriptions begin anew from their stored checkpoints. See GET /v1/operations/history-changes.',
      );
    }
    await this.correctCheckpoints();
  }

  /** A log that was restored without its checkpoints, or the other way round. */
  private async correctCheckpoints(): Promise<void> {
    const { reactions, views } = await this.history.correctCheckpoints();
    if (reactions.length > 0) this.logger.error(`Set back to the end of the log: ${reactions.join(', ')}`);
    for (const name of views.filter((view) => this.projections.has(view))) {
      this.logger.error(`${name} shows more than the log has, and is built anew`);
      await this.rebuild(name);
    }
  }

  private async remind(): Promise<void> {
    const count = await this.history.unacknowledged().catch(() => 0);
    if (count === 0) return;
    this.logger.error(
      `The log has lost events (${count} times): look at GET /v1/operations/history-changes, and acknowledge them there`,
    );
  }

  /** The code makes another view of the same events than the one that is stored. */
  private async rebuildOutdated(): Promise<void> {
    for (const { name, version } of this.projections.values()) {
      const { rows } = await this.database.pool.query(
        `select from subscriptions.checkpoints c where c.name = $1 and c.version < $2
           and not exists (select from subscriptions.checkpoints r where r.name = $3 and r.version >= $2)`,
        [name, version, rebuildOf(name)],
      );
      if (rows.length > 0) await this.rebuild(name);
    }
  }

  private discover(): { entry: SubscriptionEntry; run: (share: Share) => Runner }[] {
    const deps: RunnerDependencies = {
      database: this.database,
      store: this.store,
      tail: this.tail,
      retry: this.retry,
      forget: (lease) => this.leases.forget(lease),
    };
    const found = [];
    for (const { metatype, instance } of this.discovery.getProviders()) {
      if (typeof metatype !== 'function') continue;
      const reaction = Reflect.getMetadata(REACTION, metatype) as ReactionMetadata | undefined;
      const projection = Reflect.getMetadata(PROJECTION, metatype) as ProjectionMetadata | undefined;
      if (reaction) {
        this.assertNew(reaction.name);
        this.reactions.add(reaction.name);
        const { name, version, segments = 1 } = reaction;
        const entry = {
          name,
          kind: 'reaction' as const,
          segments,
          version,
          events: schemaVersions(reaction.events.keys()),
        };
        found.push({ entry, run: (share: Share) => new ReactionRunner(reaction, instance as Handler, share, deps) });
      }
      if (projection) {
        this.assertNew(projection.name);
        this.projections.set(projection.name, projection);
        const view = instance as Projection;
        const entry = { ...projection, kind: 'projection' as const, events: schemaVersions(view.eventTypes) };
        found.push({ entry, run: (share: Share) => new ProjectionRunner(projection, view, share, deps) });
        this.rebuilds.push(new RebuildRunner(projection, view, deps));
      }
    }
    return found;
  }

  private assertNew(name: string): void {
    if (this.projections.has(name) || this.reactions.has(name)) throw new Error(`Two subscriptions are named ${name}`);
  }

  /** Wakes the other processes, after the commit and from another connection: NOTIFY takes a lock in its transaction. */
  private tell(): void {
    this.news ??= setTimeout(() => {
      this.news = undefined;
      this.database.pool
        .query({
          name: 'subscriptions.tell',
          text: 'select pg_notify($1, $2)',
          values: [newsChannel, this.leases.owner],
        })
        // they poll as well, only less often
        .catch(() => undefined);
    }, newsEveryMs);
  }

  private sample(): void {
    const now = Date.now();
    for (const runner of [...this.runners, ...this.rebuilds]) {
      const before = this.rates.get(runner) ?? { at: now - rateWindowMs / 2, count: 0, rate: 0 };
      const rate = ((runner.count - before.count) * 1000) / Math.max(1, now - before.at);
      this.rates.set(runner, { at: now, count: runner.count, rate: Math.round(rate * 10) / 10 });
    }
  }

  /** Another process runs these; their checkpoints tell. Nobody waits for one that is paused. */
  private async reachedElsewhere(others: readonly Runner[], position: number, deadline: number): Promise<boolean> {
    if (others.length === 0) return true;
    while (Date.now() < deadline) {
      const { rowCount } = await this.database.pool.query(
        `select 1 from subscriptions.checkpoints
         where (name, segment) in (select * from unnest($1::text[], $2::int[]))
           and position < $3 and paused_by is null limit 1`,
        [others.map((runner) => runner.name), others.map((runner) => runner.segment), position],
      );
      if (rowCount === 0) return true;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return false;
  }
}

function unknownSubscription(name: string): DomainError {
  return new DomainError('not-found', 'subscription-unknown', `There is no subscription ${name}.`);
}
