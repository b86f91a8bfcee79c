import type { EventEmitter } from 'node:events';
import type { Client, ClientConfig } from 'pg';
import { isSessionLost } from './errors';
import { LocatedClient } from './located-client';

/** What a pool adds for its sessions. */
export interface SessionConfig extends ClientConfig {
  /**
   * Commits do not wait for the disk, for what can be had again from the log: a crash of the server may take the last few
   * away.
   */
  readonly relaxed?: boolean;
  /** How long a statement waits for a lock, in ms; 10,000 by default. */
  readonly lockMs?: number;
  /** Called for each statement that the server refuses because its disk is full. */
  readonly onDiskFull?: () => void;
}

/** The server gives up on a statement after this time, and this process on the session a little later, in ms. */
const statementMs = 11_000;
const queryMs = 12_000;
const connectMs = 10_000;
const defaultLockMs = 10_000;

/** SQLSTATE disk_full */
const diskFull = '53100';

/**
 * What the code relies on, whatever the server, the database or the role have as their defaults. By SET and not as
 * startup parameters, which connection poolers refuse.
 *
 * A process that stands still within a transaction keeps what it has locked: the log, or the checkpoint of a view. It is
 * thrown out before those who wait for it give up, and before its leases run out.
 */
const settings = `
  set default_transaction_isolation = 'read committed'; set default_transaction_deferrable = off;
  set datestyle = 'ISO, MDY'; set intervalstyle = 'postgres'; set timezone = 'UTC'; set bytea_output = 'hex';
  set standard_conforming_strings = on; set extra_float_digits = 1; set search_path = public, pg_temp;
  set idle_in_transaction_session_timeout = '5s';
  set client_min_messages = 'warning'`;

/** An acknowledged commit is on the disk. Who asks for more than that, such as a replica's confirmation, keeps it. */
const durable = `select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'`;

/** The database takes no writes at present: a standby, or by its settings. */
export class ReadOnlyError extends Error {
  override readonly name = 'ReadOnlyError';
  /** SQLSTATE read_only_sql_transaction */
  readonly code = '25006';

  constructor() {
    super('The database is read-only');
  }
}

/**
 * A connection to Postgres, of whichever pool. It has our settings, and ends when it is no good any more: after a query
 * without an answer in time, or after an error that says so. Whoever holds it then gets another one.
 */
export class Session extends LocatedClient {
  private readonly settings: string;
  private readonly name: string;

  constructor(config: SessionConfig) {
    super({ connectionTimeoutMillis: connectMs, keepAlive: true, query_timeout: queryMs, ...config });
    const limit = Math.min(statementMs, config.query_timeout ?? statementMs);
    const commit = config.relaxed ? 'set synchronous_commit = off' : durable;
    const lock = config.lockMs ?? defaultLockMs;
    this.settings = `${settings}; set statement_timeout = ${limit}; set lock_timeout = ${lock}; ${commit}`;
    this.name = config.application_name ?? '';
    // Pools and TypeORM listen only while they use it, or only while they do not: lost in between, it would end the process.
    this.on('error', () => undefined);
    this.wire.on('errorMessage', ({ code }: { code?: string }) => {
      if (code === diskFull) config.onDiskFull?.();
    });
  }

  /** pg's connection, which its types do not declare. */
  private get wire() {
    return (this as unknown as { connection: EventEmitter & { stream: { destroy(error: Error): void } } }).connection;
  }

  override connect(): Promise<Client>;
  override connect(callback: ((error: Error) => void) | ((error: null, client: Client) => void)): void;
  override connect(callback?: (error: never, client: never) => void): Promise<Client> | void {
    const connected = this.open();
    if (!callback) return connected;
    const answer = callback as (error: Error | null, client: Client) => void;
    connected.then(
      () => answer(null, this),
      (error: Error) => answer(error, this),
    );
  }

  private async open(): Promise<Client> {
    await super.connect();
    try {
      await super.query(this.settings);
      const { rows } = await super.query<{ read_only: string }>(
        `select current_setting('transaction_read_only') as read_only, set_config('application_name', $1, false)`,
        [this.name],
      );
      // It would stay so when the database takes writes again, or when another server does in its place.
      if (rows[0]!.read_only === 'on') throw new ReadOnlyError();
    } catch (error) {
      this.discard(error as Error);
      throw error;
    }
    return this;
  }

  /** pg's own, whose promise also ends the session when its error says that it is no good. */
  override query = ((...args: Parameters<Client['query']>) => {
    const result = super.query(...args) as unknown;
    if (!(result instanceof Promise)) return result;
    return result.catch((error: Error) => {
      if (isSessionLost(error)) this.discard(error);
      throw error;
    });
  }) as unknown as Client['query'];

  /** At once, without a farewell that nobody may answer. */
  private discard(error: Error): void {
    this.wire.stream.destroy(error);
  }
}
