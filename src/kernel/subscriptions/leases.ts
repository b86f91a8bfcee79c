import { Logger } from '@nestjs/common';
import { Client } from 'pg';
import { newId } from '../ids';

/** The right to run one subscription, for as long as the database agrees. */
export interface Lease {
  readonly name: string;
  /** Every checkpoint write names it; once somebody else owns the subscription it no longer matches. */
  readonly epoch: number;
  readonly position: number;
}

export interface LeaseHolder {
  readonly name: string;
  readonly kind: 'projection' | 'reaction';
  claimed(lease: Lease): void;
  lost(): void;
}

const leaseSeconds = 10;
const renewMs = 1000;

const free = `(c.owner is null or c.lease_until < clock_timestamp() or not exists (
  select from pg_stat_activity a where a.pid = c.backend_pid and a.backend_start = c.backend_start))`;
const mine = `owner = $1, lease_until = clock_timestamp() + interval '${leaseSeconds} s', backend_pid = pg_backend_pid(),
  backend_start = (select backend_start from pg_stat_activity where pid = pg_backend_pid())`;

/**
 * Shares the subscriptions out among the processes: claims what nobody runs, keeps what it has, and says when one was
 * lost. A killed owner is replaced at once, since its session is gone; a silent one when its lease runs out.
 */
export class Leases {
  private readonly logger = new Logger('Leases');
  readonly owner = newId();
  private readonly held = new Set<string>();
  private client: Client | undefined;
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(
    private readonly url: string,
    private readonly holders: ReadonlyMap<string, LeaseHolder>,
  ) {}

  async start(): Promise<void> {
    const client = await this.connection();
    const holders = [...this.holders.values()];
    await client.query(
      `insert into subscriptions.checkpoints (name, kind) select * from unnest($1::text[], $2::text[]) on conflict do nothing`,
      [holders.map((holder) => holder.name), holders.map((holder) => holder.kind)],
    );
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

  /** A worker found that it was replaced, or cannot go on: what it had may be claimed anew. */
  forget(name: string): void {
    this.held.delete(name);
  }

  private schedule(): void {
    if (this.stopped) return;
    this.timer = setTimeout(() => {
      this.running = this.round()
        .catch((error: Error) => this.logger.warn(`Cannot renew leases, trying again: ${error.message}`))
        .finally(() => this.schedule());
    }, renewMs);
  }

  private async round(): Promise<void> {
    const client = await this.connection();
    const renewed = await client.query<{ name: string }>(
      `update subscriptions.checkpoints set ${mine} where owner = $1 and name = any($2) returning name`,
      [this.owner, [...this.held]],
    );
    const kept = new Set(renewed.rows.map((row) => row.name));
    for (const name of [...this.held]) {
      if (kept.has(name)) continue;
      this.held.delete(name);
      this.holders.get(name)?.lost();
    }
    const wanted = [...this.holders.keys()].filter((name) => !this.held.has(name));
    if (wanted.length === 0 || this.stopped) return;
    const claimed = await client.query<{ name: string; epoch: string; position: string }>(
      `update subscriptions.checkpoints u set ${mine}, epoch = u.epoch + 1
       from (select c.name from subscriptions.checkpoints c where c.name = any($2) and (c.owner = $1 or ${free})
             for update skip locked) claim
       where u.name = claim.name returning u.name, u.epoch, u.position`,
      [this.owner, wanted],
    );
    for (const row of claimed.rows) {
      this.held.add(row.name);
      this.holders.get(row.name)?.claimed({ name: row.name, epoch: Number(row.epoch), position: Number(row.position) });
    }
  }

  /** A session of its own, for as long as the process lives: its presence on the server vouches for the owner. */
  private async connection(): Promise<Client> {
    if (this.client) return this.client;
    const client = new Client({
      connectionString: this.url,
      application_name: 'orderloom/leases',
      connectionTimeoutMillis: 5000,
      query_timeout: 5000,
      keepAlive: true,
    });
    const drop = () => {
      if (this.client === client) this.client = undefined;
    };
    client.on('error', drop);
    client.on('end', drop);
    await client.connect();
    return (this.client = client);
  }
}
