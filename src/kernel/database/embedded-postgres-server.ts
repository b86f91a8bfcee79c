import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomInt } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { EmbeddedPostgresError, commandLines, incarnation, until } from './embedded-postgres-lock';
import { type Home, oneLine, spawnOptions } from './embedded-postgres-home';

const MAX_DEATHS = 5;
const DEATHS_WITHIN_MS = 60_000;
/** How long leftovers of a killed server (backends, shared memory) may hinder a start. */
const LEFTOVERS_MS = 30_000;

/** How often the data directory is looked for, which somebody may have deleted. Postgres itself looks once a minute. */
const WATCH_MS = 500;

const SETTINGS = {
  listen_addresses: '127.0.0.1',
  // TCP only: a socket's path is limited to 107 bytes, which a directory may well exceed.
  unix_socket_directories: '',
  max_connections: '100',
  shared_buffers: '128MB',
  max_wal_size: '1GB',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '%m [%p] ',
  // Start, stop, recovery and death. Errors of statements go to the client; an event store that
  // detects conflicts by unique violation would fill the disk with them.
  log_min_messages: 'log',
  log_checkpoints: 'off',
};

/** Tells the server of one data directory from all others. */
export function clusterName({ data }: Home): string {
  return `orderloom-${createHash('sha256').update(data).digest('hex').slice(0, 12)}`;
}

/** Keeps one server process running over one data directory until it is told to stop. */
export class PostgresServer {
  private readonly logFile: string;
  /** Postgres puts it into the title of its every process, by which we find those left behind. */
  private readonly cluster: string;
  private readonly deaths: number[] = [];
  private bin = '';
  private port = 0;
  private server: ChildProcess | undefined;
  private restarting: Promise<void> | undefined;
  private stopping = false;
  private watch: NodeJS.Timeout | undefined;
  private announceGone: (reason: string) => void = () => undefined;
  /** Resolves with one sentence when it has ended and is not started again. */
  readonly gone = new Promise<string>((resolve) => (this.announceGone = resolve));

  constructor(
    private readonly home: Home,
    private readonly settings: Readonly<Record<string, string>>,
    private readonly log: (line: string) => void,
  ) {
    this.logFile = join(home.path, 'server.log');
    this.cluster = clusterName(home);
  }

  /** Resolves to the port once the server accepts connections. */
  async start(bin: string): Promise<number> {
    this.bin = bin;
    if ((statSync(this.logFile, { throwIfNoEntry: false })?.size ?? 0) > 1_000_000) {
      renameSync(this.logFile, `${this.logFile}.1`);
    }
    process.on('exit', this.onProcessExit);
    await this.launch({ mayMove: true });
    this.watch = setInterval(this.look, WATCH_MS).unref();
    return this.port;
  }

  async stop(): Promise<void> {
    this.stopping = true;
    clearInterval(this.watch);
    const pid = this.server?.pid;
    if (pid) await shutDown(pid);
    await this.restarting;
    process.off('exit', this.onProcessExit);
  }

  /** process.exit() without stop() is no reason to leave a server behind. */
  private readonly onProcessExit = () => {
    this.server?.kill('SIGINT');
  };

  /** The pid file is there for as long as the server runs. Without its files, the server goes on and answers from memory. */
  private readonly look = () => {
    const pid = this.server?.pid;
    if (this.stopping || this.restarting || pid === undefined) return;
    if (existsSync(join(this.home.data, 'postmaster.pid'))) return;
    this.end(this.removed);
    process.kill(pid, 'SIGQUIT');
  };

  private get removed(): string {
    return `The data directory ${this.home.data} was removed while Postgres was using it: restore it from a backup.`;
  }

  private end(reason: string): void {
    this.stopping = true;
    clearInterval(this.watch);
    this.announceGone(reason);
  }

  private async launch({ mayMove }: { mayMove: boolean }): Promise<void> {
    await this.clearLeftovers();
    if (mayMove) this.port = await choosePort(this.home);
    const deadline = Date.now() + LEFTOVERS_MS;
    for (;;) {
      const failure = await this.attempt();
      if (failure === undefined || this.stopping) return;
      const inTheWay = /shared memory block|lock file/.test(failure);
      const portTaken = /could not (bind|create any TCP)/.test(failure);
      if (Date.now() > deadline || !(inTheWay || portTaken)) {
        throw new EmbeddedPostgresError(
          `Postgres does not start (${oneLine(failure)}): see ${this.logFile}, or set DATABASE_URL to a Postgres of yours`,
        );
      }
      if (inTheWay) await this.clearLeftovers({ evenWithoutPidFile: true });
      // After a death the port is in the application's hands already and cannot change.
      if (portTaken && mayMove) this.port = await choosePort(this.home);
      await until(() => this.stopping, 100);
    }
  }

  /** Starts the server once; undefined when it accepts connections, else what it said before it ended. */
  private async attempt(): Promise<string | undefined> {
    if (this.stopping) return 'it was told to stop';
    // A file and not a pipe: a server blocks on a full pipe, and one left behind has no reader.
    const output = openSync(this.logFile, 'a');
    const before = statSync(this.logFile).size;
    const settings = { ...SETTINGS, ...this.settings, port: String(this.port), cluster_name: this.cluster };
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    let ended: string | undefined;
    let ready = false;
    try {
      const server = spawn(join(this.bin, 'postgres'), ['-D', this.home.data, ...flags], {
        ...spawnOptions(this.home),
        // A process group of its own: Ctrl-C reaches the application, which drains before it stops us.
        detached: true,
        stdio: ['ignore', output, output],
      });
      this.server = server;
      const onEnd = (how: string) => {
        ended ??= how;
        if (this.server === server) this.server = undefined;
        if (!ready || this.stopping) return;
        this.restarting = this.restart(`process ${server.pid} ${how}`).finally(() => (this.restarting = undefined));
      };
      server.on('error', (error) => onEnd(error.message));
      server.on('exit', (code, signal) => onEnd(signal ? `was ended by ${signal}` : `exited with code ${code}`));

      const since = Date.now();
      // Recovery may take long; as long as the process lives it is making progress.
      while (!(await until(() => ended !== undefined || this.isReady(server.pid), 10_000))) {
        this.log(`Postgres is still starting after ${Math.round((Date.now() - since) / 1000)} s, see ${this.logFile}`);
      }
    } catch (error) {
      ended = (error as Error).message;
    } finally {
      closeSync(output);
    }
    ready = ended === undefined;
    return ready ? undefined : `${readFileSync(this.logFile).subarray(before).toString()}\n${ended}`;
  }

  /** The server itself writes its state into the eighth line of its pid file. */
  private isReady(pid: number | undefined): boolean {
    try {
      const lines = readFileSync(join(this.home.data, 'postmaster.pid'), 'utf8').split('\n');
      return Number(lines[0]) === pid && lines[7]?.trim() === 'ready';
    } catch {
      return false;
    }
  }

  private async restart(how: string): Promise<void> {
    for (let reason = how; !this.stopping;) {
      if (!existsSync(join(this.home.data, 'global', 'pg_control'))) return this.end(this.removed);
      const now = Date.now();
      while (this.deaths[0] !== undefined && now - this.deaths[0] > DEATHS_WITHIN_MS) this.deaths.shift();
      if (this.deaths.push(now) > MAX_DEATHS) {
        this.end(`Postgres: ${reason}; giving up after ${MAX_DEATHS} restarts within a minute, see ${this.logFile}.`);
        return;
      }
      this.log(`Postgres: ${reason}; restarting it (${this.deaths.length} of at most ${MAX_DEATHS} within a minute)`);
      try {
        await this.launch({ mayMove: false });
        if (!this.stopping) this.log('Postgres accepts connections again');
        return;
      } catch (error) {
        reason = (error as Error).message;
        await until(() => this.stopping, 1_000);
      }
    }
  }

  /**
   * Clears away what a killed server left: the server itself, orphaned by a `kill -9` of node; backends
   * that outlive a killed server; a pid file, which may name some other process by now. Call only while
   * holding the lock. Removing the pid file is safe: Postgres checks for attached shared memory without it.
   */
  async clearLeftovers({ evenWithoutPidFile = false } = {}): Promise<void> {
    // A server that was stopped in order has removed it, and the search can be spared.
    const pidFile = join(this.home.data, 'postmaster.pid');
    if (!evenWithoutPidFile && !existsSync(pidFile)) return;
    const find = (what: (command: string) => boolean) =>
      [...commandLines()].filter(([pid, command]) => what(command) && incarnation(pid)).map(([pid]) => pid);
    for (const pid of find((command) => command.split(` -D ${this.home.data} `)[0]?.endsWith('/postgres') ?? false)) {
      this.log(`stopping Postgres (process ${pid}), left behind by a process that was killed`);
      await shutDown(pid);
    }
    const backends = () => find((command) => command.startsWith(`postgres: ${this.cluster}: `));
    if (!(await until(() => backends().length === 0, 3_000))) {
      for (const pid of backends()) process.kill(pid, 'SIGKILL');
      await until(() => backends().length === 0, 3_000);
    }
    rmSync(pidFile, { force: true });
  }
}

/** Fast shutdown, then without a checkpoint, then by force; none of them loses what was committed. */
async function shutDown(pid: number): Promise<void> {
  const started = incarnation(pid);
  const isGone = () => started === undefined || incarnation(pid) !== started;
  for (const [signal, patience] of [
    ['SIGINT', 10_000],
    ['SIGQUIT', 5_000],
    ['SIGKILL', 5_000],
  ] as const) {
    if (isGone()) return;
    try {
      process.kill(pid, signal);
      // One that was stopped (SIGSTOP) would hear only the last of them.
      process.kill(pid, 'SIGCONT');
    } catch {
      return;
    }
    if (await until(isGone, patience)) return;
  }
}

const portFile = ({ path }: Home) => join(path, 'port');

/** Where the server of this directory listens, or did when it last ran; 0 when it never did. */
export function lastPort(home: Home): number {
  return existsSync(portFile(home)) ? Number(readFileSync(portFile(home), 'utf8')) : 0;
}

/** The port of the last start if it is free, so that a bookmarked connection keeps working; else a free one. */
async function choosePort(home: Home): Promise<number> {
  const last = lastPort(home);
  // Below the ephemeral ranges of all systems: while the server restarts, a client that connects to an
  // ephemeral port may be given that same port as its own, connect to itself, and block the server's.
  const candidates = [last, ...Array.from({ length: 50 }, () => randomInt(10_000, 32_000))];
  for (const port of candidates.filter((candidate) => candidate > 0)) {
    if (!(await isFree(port))) continue;
    if (port !== last) writeFileSync(portFile(home), `${port}\n`);
    return port;
  }
  throw new Error('no free port between 10000 and 32000');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((settle) => {
    const probe = createServer()
      .once('error', () => settle(false))
      .listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => settle(true)));
  });
}
