import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/kernel/database/embedded-postgres';
import { isAlive, postmasterPid } from '../process/app-process';

/** What Postgres starts with, on top of the defaults of the app. Nothing here loses power, so nothing waits for a disk. */
const settings = { fsync: 'off', max_wal_size: '256MB' };
/** Room for a database of a few thousand orders, in MiB. */
const diskMiB = 400;

/** A Postgres of one cell's own, which its fault may stop, freeze, fill or replace. */
export class Server {
  private readonly home: string;
  private postgres: EmbeddedPostgres | undefined;
  private ballast: string | undefined;
  /** What it said that is out of the ordinary. */
  readonly said: string[] = [];

  private constructor(
    private readonly directory: string,
    private readonly mounted: boolean,
  ) {
    this.home = join(directory, mounted ? 'disk/postgres' : 'postgres');
  }

  /** @param disk a small file system of its own for the data, and not for the WAL: needs root */
  static async start({ disk = false } = {}): Promise<Server> {
    const directory = mkdtempSync(join(tmpdir(), 'orderloom-faults-'));
    chmodSync(directory, 0o755);
    if (disk) {
      mkdirSync(join(directory, 'disk'));
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${diskMiB}m,mode=755`, 'tmpfs', join(directory, 'disk')]);
    }
    const server = new Server(directory, disk);
    try {
      await server.start();
      if (disk) await server.moveLogOfWrites();
    } catch (error) {
      await server.close(false);
      throw error;
    }
    return server;
  }

  /** As a superuser, for the tester. */
  get ownerUrl(): string {
    return this.postgres!.ownerUrl;
  }

  get appUrl(): string {
    return this.postgres!.appUrl;
  }

  private get data(): string {
    return join(this.home, 'data');
  }

  async start(): Promise<void> {
    const before = this.postgres?.ownerUrl;
    this.postgres = await startEmbeddedPostgres({
      directory: this.home,
      settings,
      log: (line) => this.said.push(line),
    });
    if (before !== undefined && before !== this.ownerUrl) throw new Error('Postgres came back on another port');
  }

  async stop(): Promise<void> {
    await this.postgres?.stop();
  }

  /** Without a checkpoint and without goodbye to anybody. */
  async stopAtOnce(): Promise<void> {
    const postmaster = postmasterPid(this.home)!;
    // told first, so that it is not started again
    const stopped = this.postgres!.stop();
    process.kill(postmaster, 'SIGQUIT');
    await stopped;
  }

  /** One statement of the tester, by default in a database that no fault is about. */
  async query<Row>(text: string, values: unknown[] = [], database = 'postgres'): Promise<Row[]> {
    const client = await this.connect(this.ownerUrl, database);
    try {
      return (await client.query(text, values)).rows as Row[];
    } finally {
      await client.end();
    }
  }

  async connect(url = this.ownerUrl, database = 'orderloom'): Promise<Client> {
    const client = new Client({
      connectionString: Object.assign(new URL(url), { pathname: `/${database}` }).href,
      application_name: 'fault',
      connectionTimeoutMillis: 10_000,
    });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** Process ids on the server of all sessions of the app. */
  async sessions(): Promise<number[]> {
    const rows = await this.query<{ pid: number }>(
      `select pid from pg_stat_activity where datname = 'orderloom' and application_name like 'orderloom%'`,
    );
    return rows.map(({ pid }) => pid);
  }

  /** SIGSTOP or SIGCONT to the server and to every process that it has. */
  signalAll(signal: 'SIGSTOP' | 'SIGCONT'): void {
    const postmaster = postmasterPid(this.home)!;
    // the parent first: a frozen one makes no further children
    for (const pid of [postmaster, ...childrenOf(postmaster)]) process.kill(pid, signal);
  }

  /** Takes all the space that is left on the disk. */
  fillDisk(): void {
    this.ballast = join(this.directory, 'disk/ballast');
    try {
      for (let size = 1 << 20; ; size <<= 1) writeFileSync(this.ballast, Buffer.alloc(size), { flag: 'a' });
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ENOSPC') throw error;
    }
  }

  async clearDisk(): Promise<void> {
    rmSync(this.ballast!);
    // a server that has given up is started again by whoever made room
    const postmaster = postmasterPid(this.home);
    if (postmaster !== undefined && isAlive(postmaster)) return;
    await this.stop();
    await this.start();
  }

  /** A copy of the data directory as a standby has it: taken while the server runs, complete up to this moment. */
  async copy(): Promise<void> {
    const copy = join(this.home, 'standby');
    const client = await this.connect();
    try {
      await client.query(`select pg_backup_start('standby', true)`);
      const left = ['pg_wal', 'postmaster.pid', 'postmaster.opts'].map((name) => join(this.data, name));
      // files that come and go meanwhile are restored from the WAL
      cpSync(this.data, copy, { recursive: true, preserveTimestamps: true, filter: (path) => !left.includes(path) });
      const { rows } = await client.query<{ labelfile: string }>('select labelfile from pg_backup_stop(false)');
      cpSync(join(this.data, 'pg_wal'), join(copy, 'pg_wal'), { recursive: true });
      writeFileSync(join(copy, 'backup_label'), rows[0]!.labelfile);
    } finally {
      await client.end();
    }
    const { uid, gid } = statSync(this.data);
    if (process.getuid?.() === 0) {
      for (const path of ['', ...(readdirSync(copy, { recursive: true }) as string[])]) {
        lchownSync(join(copy, path), uid, gid);
      }
    }
    chmodSync(copy, 0o700);
  }

  /** Puts the copy in the place of the data directory of a stopped server. */
  swapInCopy(): void {
    renameSync(this.data, join(this.home, 'lost'));
    renameSync(join(this.home, 'standby'), this.data);
  }

  /** @param keep leaves the data for whoever wants to look into it */
  async close(keep: boolean): Promise<void> {
    await this.stop().catch(() => undefined);
    if (keep) return console.log(`    The database is kept in ${this.home}`);
    if (this.mounted) execFileSync('umount', [join(this.directory, 'disk')]);
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }

  /** With the WAL on the full disk the server would stop; with the data alone it refuses what needs space (53100). */
  private async moveLogOfWrites(): Promise<void> {
    await this.stop();
    const [from, to] = [join(this.data, 'pg_wal'), join(this.directory, 'wal')];
    const { uid, gid } = statSync(from);
    cpSync(from, to, { recursive: true, preserveTimestamps: true });
    for (const path of ['', ...(readdirSync(to, { recursive: true }) as string[])]) chownSync(join(to, path), uid, gid);
    rmSync(from, { recursive: true });
    symlinkSync(to, from);
    await this.start();
  }
}

/** Linux only, as SIGSTOP of a whole server is. */
function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')[1]) === parent;
      } catch {
        return false;
      }
    })
    .map(Number);
}
