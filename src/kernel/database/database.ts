import { Logger, type OnApplicationShutdown } from '@nestjs/common';
import { Pool, type PoolClient, type PoolConfig } from 'pg';
import { LocatedClient } from './located-client';

/** Batches of appends that a process has on their way at once. */
export const appendConnections = 2;

/**
 * A process that stands still within a transaction keeps what it has locked: the log, or the checkpoint of a view. It is
 * thrown out before those who wait for it give up, and before its leases run out.
 */
export const guards = '-c lock_timeout=10s -c idle_in_transaction_session_timeout=5s';

/**
 * The kernel's connections, apart from TypeORM's: hot paths use named statements, and each kind of work has a pool of
 * its own, so that none can starve another of connections.
 */
export class Database implements OnApplicationShutdown {
  private readonly logger = new Logger('Database');
  private closing = false;
  /** Reads of streams and of the log. */
  readonly pool: Pool;
  /** Concurrent appends of a process share its transactions. */
  readonly appends: Pool;
  /**
   * For what can be had again from the log, such as views with their checkpoints: a crash of the server may take the
   * last few of its commits away at no loss, so they are not made to wait for the disk.
   */
  readonly relaxed: Pool;

  constructor(readonly url: string) {
    const base: PoolConfig = {
      Client: LocatedClient,
      connectionString: url,
      connectionTimeoutMillis: 10_000,
      allowExitOnIdle: false,
      keepAlive: true,
    };
    this.pool = this.open({ ...base, max: 8, application_name: 'orderloom', options: guards });
    this.appends = this.open({ ...base, max: appendConnections, application_name: 'orderloom/log', options: guards });
    this.relaxed = this.open({
      ...base,
      max: 12,
      application_name: 'orderloom/derived',
      options: `${guards} -c synchronous_commit=off`,
    });
  }

  /** One transaction on a connection of {@link relaxed}. */
  async relaxedTransaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    const client = await this.relaxed.connect();
    let broken: Error | undefined;
    // Only idle connections are watched by the pool: lost in use and heard by nobody, this one would end the process.
    const lost = (error: Error) => (broken = error);
    client.on('error', lost);
    try {
      await client.query('begin');
      const result = await work(client);
      await client.query('commit');
      return result;
    } catch (error) {
      await client.query('rollback').catch(lost);
      throw error;
    } finally {
      client.off('error', lost);
      client.release(broken);
    }
  }

  async onApplicationShutdown(): Promise<void> {
    this.closing = true;
    await Promise.all([this.appends.end(), this.relaxed.end(), this.pool.end()]);
  }

  private open(config: PoolConfig): Pool {
    const pool = new Pool(config);
    // An idle connection that breaks is replaced at its next use; without a listener it would end the process.
    pool.on('error', (error) => {
      // ended by us, and by a server that stops at the same moment
      if (!this.closing) this.logger.warn(`Idle connection lost: ${error.message}`);
    });
    // Nor does the pool listen to one in use, and one that is handed out may be lost before its user can listen.
    pool.on('connect', (client) => client.on('error', () => undefined));
    return pool;
  }
}
