import { Logger, type OnApplicationShutdown } from '@nestjs/common';
import type { Pool, PoolClient, PoolConfig } from 'pg';
import { MeasuredPool } from './measured-pool';
import { Session, type SessionConfig } from './session';

/** How long a caller waits for a connection, free or new, in ms. */
export const waitMs = 10_000;

/** Batches of appends that a process has on their way at once. */
export const appendConnections = 2;

/** Connections that a process may have, for what there may be much of. */
export interface PoolSizes {
  /** Of {@link Database.pool}. */
  readonly reads: number;
  /** Of {@link Database.relaxed}. */
  readonly views: number;
  /** Of TypeORM. */
  readonly rows: number;
}

export const defaultPools: PoolSizes = { reads: 8, views: 12, rows: 10 };

/** Sessions besides those of {@link PoolSizes}: the other pools below, leases, and one more at a start. */
const otherSessions = 7;

/** Sessions that a process opens when it is busy. */
export const sessionsOf = ({ reads, views, rows }: PoolSizes): number => reads + views + rows + otherSessions;

/**
 * The kernel's connections, apart from TypeORM's: hot paths use named statements, and each kind of work has a pool of
 * its own, so that none can starve another of connections.
 */
export class Database implements OnApplicationShutdown {
  private readonly logger = new Logger('Database');
  private closing = false;
  /**
   * Reads of streams, of the log and of views. Nothing that runs in normal operation makes them wait for a lock, so one that
   * waits gives its connection back soon: those that read something else need it.
   */
  readonly pool: MeasuredPool;
  /** Changes to subscriptions, which may have to wait for a worker to finish its batch. */
  readonly control: Pool;
  /** Looks for what is new in the log. */
  readonly watch: Pool;
  /** Concurrent appends of a process share its transactions. */
  readonly appends: Pool;
  /**
   * For what can be had again from the log, such as views with their checkpoints: a crash of the server may take the
   * last few of its commits away at no loss, so they are not made to wait for the disk.
   */
  readonly relaxed: Pool;

  /** Called for each statement that the server refuses because its disk is full. */
  onDiskFull: () => void = () => undefined;

  constructor(
    readonly url: string,
    { reads, views }: PoolSizes = defaultPools,
  ) {
    this.pool = this.open({ max: reads, application_name: 'orderloom', lockMs: 250, connectionTimeoutMillis: 5_000 });
    this.control = this.open({ max: 2, application_name: 'orderloom/control' });
    this.watch = this.open({ max: 1, application_name: 'orderloom/watch' });
    this.appends = this.open({ max: appendConnections, application_name: 'orderloom/log' });
    this.relaxed = this.open({ max: views, application_name: 'orderloom/derived', relaxed: true });
  }

  /** One transaction on a connection of {@link relaxed}. */
  async relaxedTransaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    const client = await this.relaxed.connect();
    // Only idle connections are watched by the pool: one that is lost in use must not go back to it.
    let broken: Error | undefined;
    const lost = (error: Error) => (broken = error);
    client.on('error', lost);
    try {
      await client.query('begin');
      const result = await work(client);
      await client.query('commit');
      return result;
    } catch (error) {
      if (!broken) await client.query('rollback').catch(lost);
      throw error;
    } finally {
      client.off('error', lost);
      client.release(broken);
    }
  }

  async onApplicationShutdown(): Promise<void> {
    this.closing = true;
    const pools = [this.appends, this.relaxed, this.watch, this.control, this.pool];
    await Promise.all(pools.map((pool) => pool.end()));
  }

  private open(config: PoolConfig & SessionConfig): MeasuredPool {
    const pool = new MeasuredPool({
      connectionString: this.url,
      connectionTimeoutMillis: waitMs,
      allowExitOnIdle: false,
      Client: Session,
      onDiskFull: () => this.onDiskFull(),
      ...config,
    } as PoolConfig);
    // An idle connection that breaks is replaced at its next use; without a listener it would end the process.
    pool.on('error', (error) => {
      // ended by us, and by a server that stops at the same moment
      if (!this.closing) this.logger.warn(`Idle connection lost: ${error.message}`);
    });
    return pool;
  }
}
