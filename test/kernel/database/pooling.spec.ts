import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { poolsTransactions } from '../../../src/kernel/database/pooling';
import { AppProcess, freePort } from '../../process/app-process';
import { createDatabase, type TestDatabase } from '../../support/database';
import { TransactionPooler } from '../../support/transaction-pooler';
import { eventually } from '../support';

jest.setTimeout(60_000);

/** A real PgBouncer in front of a database. */
class PgBouncer {
  private constructor(
    readonly url: string,
    private readonly child: ChildProcess,
    private readonly directory: string,
  ) {}

  static async start(url: string, mode: string, options = ''): Promise<PgBouncer> {
    const { hostname, port: serverPort, username, password, pathname } = new URL(url);
    const directory = mkdtempSync(join(tmpdir(), 'orderloom-pgbouncer-'));
    chmodSync(directory, 0o755);
    const port = await freePort();
    writeFileSync(join(directory, 'users.txt'), `"${username}" "${decodeURIComponent(password)}"\n`);
    const target = `host=${hostname} port=${serverPort} dbname=${pathname.slice(1)}`;
    writeFileSync(
      join(directory, 'pgbouncer.ini'),
      `[databases]
${pathname.slice(1)} = ${target} user=${username} password=${decodeURIComponent(password)}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = plain
auth_file = ${join(directory, 'users.txt')}
pool_mode = ${mode}
default_pool_size = 60
${options}
`,
    );
    // PgBouncer refuses to run as root
    const asNobody = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
    const child = spawn('pgbouncer', [...asNobody, join(directory, 'pgbouncer.ini')], { stdio: 'ignore' });
    const listens = () =>
      new Promise<boolean>((resolve) => {
        const socket = connectSocket(port, '127.0.0.1', () => resolve(true));
        socket.on('error', () => resolve(false)).on('close', () => undefined);
        socket.on('connect', () => socket.destroy());
      });
    await eventually(listens);
    return new PgBouncer(Object.assign(new URL(url), { host: `127.0.0.1:${port}` }).href, child, directory);
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await ended;
    rmSync(this.directory, { recursive: true });
  }
}

function installed(): boolean {
  try {
    execFileSync('pgbouncer', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe('a pooler in front of the database', () => {
  let database: TestDatabase;
  let data: string;
  const processes: AppProcess[] = [];

  beforeAll(async () => {
    data = mkdtempSync(join(tmpdir(), 'orderloom-pooled-'));
    database = await createDatabase();
  });
  afterAll(async () => {
    await Promise.all(processes.map((each) => each.end()));
    await database.drop();
    rmSync(data, { recursive: true });
  });

  const start = async (DATABASE_URL: string) => {
    const port = String(await freePort());
    const app = new AppProcess({ DATABASE_URL, PORT: port, DATA_DIR: data, LOG_LEVEL: 'warn' });
    processes.push(app);
    return { app, url: `http://127.0.0.1:${port}` };
  };
  const refusal = /^The database .* is behind a pooler in transaction mode.*set pool_mode = session.*DATABASE_URL\.\n$/;

  it('is not suspected where there is none', async () => {
    expect(await poolsTransactions(database.appUrl)).toBe(false);
  });

  it('is recognised by how it lends its sessions, and refused in one sentence', async () => {
    const pooler = new TransactionPooler(database.url);
    const url = await pooler.open();
    expect(await poolsTransactions(url)).toBe(true);
    const { app } = await start(url);
    expect(await app.exited).toMatchObject({ code: 1 });
    expect(app.output).toMatch(refusal);
    await pooler.close();
  });

  // a package of Debian, which not every developer has; the test before this one does without
  const withPgBouncer = installed() ? describe : describe.skip;
  withPgBouncer('that is PgBouncer', () => {
    let bouncer: PgBouncer;
    afterEach(() => bouncer.stop());

    it.each([
      ['transaction', ''],
      ['transaction', 'server_round_robin = 1\nmin_pool_size = 5'],
      ['statement', ''],
    ])('is refused in %s mode %s', async (mode, options) => {
      bouncer = await PgBouncer.start(database.url, mode, options);
      expect(await poolsTransactions(bouncer.url)).toBe(true);
      const { app } = await start(bouncer.url);
      expect(await app.exited).toMatchObject({ code: 1 });
      expect(app.output).toMatch(refusal);
    });

    it('is not refused in session mode', async () => {
      bouncer = await PgBouncer.start(database.url, 'session');
      expect(await poolsTransactions(bouncer.url)).toBe(false);
      const { app, url } = await start(bouncer.url);
      await app.ready(url);
      expect(await app.end()).toMatchObject({ code: 0 });
    });
  });
});
