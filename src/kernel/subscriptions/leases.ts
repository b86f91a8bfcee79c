import { Logger } from '@nestjs/common';
import type { Client, Notification } from 'pg';
import { Session } from '../database/session';
import { newId } from '../ids';
import { RepeatedWarning } from '../repeated-warning';

/** The right to run one segment of a subscription, for as long as the database agrees. */
export interface Lease {
  readonly name: string;
  readonly segment: number;
  /** Every checkpoint write names it; once somebody else owns the segment it no longer matches. */
  readonly epoch: number;
  readonly position: number;
}

/**
 * What this process can do for a subscription. Another version of the program may be able to do more: then it must leave
 * the subscription alone, or events would be skipped, or written to a view in a shape that it no longer has.
 */
export interface Knowledge {
  /** Of the view that its code makes; of a reaction, raised when it no longer handles a type of event. */
  readonly version: number;
  /** Types of the events that it handles, with the newest schema version of each that it can read. */
  readonly events: Readonly<Record<string, number>>;
}

export interface LeaseHolder extends Knowledge {
  readonly name: string;
  readonly segment: number;
  claimed(lease: Lease): void;
  lost(): void;
}

/** What is in the table of a subscription before anybody runs it. */
export interface SubscriptionEntry extends Knowledge {
  readonly name: string;
  readonly kind: 'projection' | 'reaction';
  readonly segments: number;
}

/** The channel on which a process tells the others that it has committed something. */
export const newsChannel = 'orderloom_log';
/** The channel on which a process acknowledges an event: its session's process id on the server, and the position. */
export const seenChannel = 'orderloom_seen';

/** What this process learns from the others. */
export interface Notifications {
  /** Another process committed something. */
  committed(): void;
  /** The process with this session has seen the log up to this position. */
  seen(pid: number, position: number): void;
}

const leaseSeconds = 10;
const renewMs = 1000;
/** A round that has no answer by then gets a new session, well before the leases run out. */
const roundMs = 4000;

// A session's backend_start is null for a role other than its own: whether it is the owner's session cannot be seen
// then, and the end of the lease decides.
const free = `(c.owner is null or c.lease_until < clock_timestamp() or not exists (
  select from pg_stat_activity a
  where a.pid = c.backend_pid and coalesce(a.backend_start, c.backend_start) = c.backend_start))`;
const mine = `owner = $1, lease_until = clock_timestamp() + interval '${leaseSeconds} s', backend_pid = pg_backend_pid(),
  backend_start = (select backend_start from pg_stat_activity where pid = pg_backend_pid())`;

/** The one session that each process has for its leases. */
export const sessions = `select pid from pg_stat_activity
  where datname = current_database() and application_name = 'orderloom/leases'`;

/** True of a checkpoint c when the wanted w knows all that its subscription takes. */
const known = `(w.version > c.version or w.version = c.version and not exists (
  select from jsonb_each_text(c.events) e where coalesce((w.events ->> e.key)::int, 0) < e.value::int))`;

interface ClaimRow {
  name: string;
  segment: number;
  epoch: string;
  position: string;
}

const keyOf = ({ name, segment }: { name: string; segment: number }) => `${name}#${segment}`;

/**
 * Shares the segments out among the processes: claims what nobody runs, keeps what it has, and says when one was lost.
 * A killed owner is replaced at once, since its session is gone; a silent one when its lease runs out. Of a
 * subscription with several segments, a process keeps no more than its share.
 */
export class Leases {
  private readonly logger = new Logger('Leases');
  private readonly trouble = new RepeatedWarning(this.logger, 'Cannot renew leases, trying again');
  readonly owner = newId();
  private readonly holders = new Map<string, LeaseHolder>();
  /** What this process holds, and the epoch that it was claimed with. */
  private readonly held = new Map<string, number>();
  /** Of this process's session on the server; 0 while there is none. */
  pid = 0;
  private client: Client | undefined;
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();
  private stopped = false;
  private renewedAt = -Infinity;
  /** Since when nobody has run a subscription that this process could run, in ms of `performance.now()`. */
  private readonly unowned = new Map<string, number>();

  constructor(
    private readonly url: string,
    /** Without it, this process does not listen to the others. */
    private readonly notifications?: Notifications,
  ) {}

  /** How long ago the database last took the renewal of the leases, in ms. */
  get silentMs(): number {
    return performance.now() - this.renewedAt;
  }

  /**
   * Enters the subscriptions that are new, and what those need that are there already. Who ran one without knowing all of
   * that loses it at once.
   *
   * @returns how many segments each has: what it first started with, since partitions cannot move while they flow
   */
  async register(entries: readonly SubscriptionEntry[]): Promise<Map<string, number>> {
    const client = await this.connection();
    const wanted = JSON.stringify(entries);
    await client.query(
      `insert into subscriptions.checkpoints (name, segment, kind, version, events)
       select e.name, segment, e.kind, e.version, e.events
       from jsonb_to_recordset($1) as e (name text, kind text, segments int, version int, events jsonb),
            generate_series(0, e.segments - 1) segment
       where not exists (select from subscriptions.checkpoints c where c.name = e.name)
       on conflict do nothing`,
      [wanted],
    );
    // A view keeps its version until it is rebuilt. A reaction of a higher version replaces what was needed before it.
    await client.query(
      `update subscriptions.checkpoints c
       set epoch = c.epoch + 1, owner = null, lease_until = null, retired_by = null, retired_at = null,
           version = case c.kind when 'reaction' then w.version else c.version end,
           events = case when c.kind = 'reaction' and w.version > c.version then w.events else (
             select coalesce(jsonb_object_agg(k, greatest((c.events ->> k)::int, (w.events ->> k)::int)), '{}')
             from jsonb_object_keys(c.events || w.events) k) end
       from jsonb_to_recordset($1) as w (name text, version int, events jsonb)
       where c.name = w.name and w.version >= c.version
         and (c.kind = 'reaction' and w.version > c.version or c.retired_by is not null or exists (
           select from jsonb_each_text(w.events) e where coalesce((c.events ->> e.key)::int, 0) < e.value::int))`,
      [wanted],
    );
    const { rows } = await client.query<{ name: string; segments: number; known: boolean }>(
      `select c.name, count(*)::int as segments, bool_and(${known}) as known from subscriptions.checkpoints c
       join jsonb_to_recordset($1) as w (name text, version int, events jsonb) on w.name = c.name group by c.name`,
      [wanted],
    );
    const unknown = rows.filter((row) => !row.known).map((row) => row.name);
    if (unknown.length > 0) {
      this.logger.warn(`Left to processes with a newer version of the program: ${unknown.join(', ')}`);
    }
    return new Map(rows.map((row) => [row.name, row.segments]));
  }

  async start(holders: readonly LeaseHolder[]): Promise<void> {
    for (const holder of holders) this.holders.set(keyOf(holder), holder);
    await this.round();
    this.schedule();
  }

  /** Gives all leases back, so that another process takes over at once. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.running;
    await this.client
      ?.query(`update subscriptions.checkpoints set owner = null, lease_until = null where owner = $1`, [this.owner])
      .catch(() => undefined);
    await this.client?.end().catch(() => undefined);
  }

  /**
   * A worker found that it was replaced, or cannot go on: its lease may be claimed again. A worker that ends late reports an
   * earlier lease when this process already holds the next one, which stays.
   */
  forget(lease: Lease): void {
    const key = keyOf(lease);
    if (this.held.get(key) === lease.epoch) this.held.delete(key);
  }

  /** Gives everything back, to be claimed anew: what this process knows of the log is not so. */
  async startOver(): Promise<void> {
    const client = await this.connection();
    for (const key of this.held.keys()) this.holders.get(key)!.lost();
    this.held.clear();
    await client.query(
      `update subscriptions.checkpoints set owner = null, lease_until = null, epoch = epoch + 1 where owner = $1`,
      [this.owner],
    );
  }

  private schedule(): void {
    if (this.stopped) return;
    this.timer = setTimeout(() => {
      this.running = this.round()
        .then(
          () => this.trouble.over(),
          (error: unknown) => this.trouble.warn(error),
        )
        .finally(() => this.schedule());
    }, renewMs);
  }

  private async round(): Promise<void> {
    const client = await this.connection();
    await this.renew(client);
    if (!this.stopped) await this.claim(client);
    await this.lookForUnowned(client);
    this.renewedAt = performance.now();
  }

  /** Keeps what is ours, gives back what was paused or is more than our share, and learns what is not ours any more. */
  private async renew(client: Client): Promise<void> {
    const held = [...this.held.keys()].map((key) => this.holders.get(key)!);
    // What a worker of ours has locked, since its batch takes long, it holds anyway: waiting would cost all other leases.
    const { rows } = await client.query<{ name: string; segment: number }>(
      `with held as (
         select name, segment from subscriptions.checkpoints
         where owner = $1 and paused_by is null and retired_by is null
           and (name, segment) in (select * from unnest($2::text[], $3::int[]))
       ), unlocked as (
         select name, segment from subscriptions.checkpoints
         where owner = $1 and (name, segment) in (select * from held) for update skip locked
       ), renewed as (
         update subscriptions.checkpoints set ${mine} where (name, segment) in (select * from unlocked)
       )
       select * from held`,
      [this.owner, held.map((holder) => holder.name), held.map((holder) => holder.segment)],
    );
    const kept = new Set(rows.map(keyOf));
    for (const key of [...this.held.keys()]) if (!kept.has(key)) this.lose(key);
    for (const key of await this.beyondShare(client)) this.lose(key);
    await this.giveBack(client);
  }

  private lose(key: string): void {
    this.held.delete(key);
    this.holders.get(key)!.lost();
  }

  /** All that is ours in the table and not held any more. What its worker has locked at the moment is given back later. */
  private async giveBack(client: Client): Promise<void> {
    const held = [...this.held.keys()].map((key) => this.holders.get(key)!);
    await client.query(
      `update subscriptions.checkpoints set owner = null, lease_until = null
       where (name, segment) in (
         select name, segment from subscriptions.checkpoints
         where owner = $1 and (name, segment) not in (select * from unnest($2::text[], $3::int[])) for update skip locked)`,
      [this.owner, held.map((holder) => holder.name), held.map((holder) => holder.segment)],
    );
  }

  private async claim(client: Client): Promise<void> {
    const share = await this.shares(client);
    const wanted = [...this.holders.values()].filter((holder) => {
      return !this.held.has(keyOf(holder)) && this.countHeld(holder.name) < (share.get(holder.name) ?? 1);
    });
    if (wanted.length === 0) return;
    const { rows } = await client.query<ClaimRow>(
      `update subscriptions.checkpoints u set ${mine}, epoch = u.epoch + 1
       from (select c.name, c.segment from subscriptions.checkpoints c
             join jsonb_to_recordset($2) as w (name text, segment int, version int, events jsonb)
               on w.name = c.name and w.segment = c.segment
             where c.paused_by is null and c.retired_by is null and ${known} and (c.owner = $1 or ${free})
             for update of c skip locked) claim
       where u.name = claim.name and u.segment = claim.segment returning u.name, u.segment, u.epoch, u.position`,
      [
        this.owner,
        JSON.stringify(wanted.map(({ name, segment, version, events }) => ({ name, segment, version, events }))),
      ],
    );
    for (const row of rows) {
      const { name, segment } = row;
      const epoch = Number(row.epoch);
      this.held.set(keyOf(row), epoch);
      this.holders.get(keyOf(row))?.claimed({ name, segment, epoch, position: Number(row.position) });
    }
  }

  /** What was not claimed has an owner as a rule; without one, somebody has to know. */
  private async lookForUnowned(client: Client): Promise<void> {
    const others = [...this.holders.values()].filter((holder) => !this.held.has(keyOf(holder)));
    const { rows } =
      others.length === 0
        ? { rows: [] }
        : await client.query<{ name: string }>(
            `select distinct name from subscriptions.checkpoints c
             where name = any($1) and (c.owner is null or c.lease_until < clock_timestamp())
               and paused_by is null and retired_by is null`,
            [others.map(({ name }) => name)],
          );
    const names = new Set(rows.map(({ name }) => name));
    for (const name of this.unowned.keys()) if (!names.has(name)) this.unowned.delete(name);
    for (const name of names) if (!this.unowned.has(name)) this.unowned.set(name, performance.now());
  }

  /** Subscriptions that this process knows and that nobody has run for longer than `ms`, though nobody stopped them. */
  unownedFor(ms: number): string[] {
    const now = performance.now();
    return [...this.unowned].filter(([, since]) => now - since > ms).map(([name]) => name);
  }

  private countHeld(name: string): number {
    return [...this.held.keys()].filter((key) => this.holders.get(key)?.name === name).length;
  }

  /** Segments of a subscription that a process may hold: all of the only one, or its part of several. */
  private async shares(client: Client): Promise<Map<string, number>> {
    const segments = new Map<string, number>();
    for (const { name } of this.holders.values()) segments.set(name, (segments.get(name) ?? 0) + 1);
    if ([...segments.values()].every((count) => count === 1)) return segments;
    const { rows } = await client.query<{ processes: number }>(
      `select count(*)::int as processes from (${sessions}) s`,
    );
    const processes = Math.max(1, rows[0]!.processes);
    return new Map([...segments].map(([name, count]) => [name, Math.ceil(count / processes)]));
  }

  private async beyondShare(client: Client): Promise<string[]> {
    const beyond: string[] = [];
    for (const [name, share] of await this.shares(client)) {
      const keys = [...this.held.keys()].filter((key) => this.holders.get(key)?.name === name);
      beyond.push(...keys.slice(share));
    }
    return beyond;
  }

  /** A session of its own, for as long as the process lives: its presence on the server vouches for the owner. */
  private async connection(): Promise<Client> {
    if (this.client) return this.client;
    const client = new Session({
      connectionString: this.url,
      application_name: 'orderloom/leases',
      connectionTimeoutMillis: 5000,
      query_timeout: roundMs,
    });
    const drop = () => {
      if (this.client !== client) return;
      this.client = undefined;
      this.pid = 0;
    };
    client.on('error', drop);
    client.on('end', drop);
    client.on('notification', ({ channel, payload = '' }: Notification) => {
      const [pid, position] = payload.split(' ').map(Number);
      if (channel === seenChannel) this.notifications?.seen(pid!, position!);
      else if (payload !== this.owner) this.notifications?.committed();
    });
    await client.connect();
    try {
      const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
      if (this.notifications) await client.query(`listen ${newsChannel}; listen ${seenChannel}`);
      this.pid = rows[0]!.pid;
      return (this.client = client);
    } catch (error) {
      await client.end().catch(() => undefined);
      throw error;
    }
  }
}
