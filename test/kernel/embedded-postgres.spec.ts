import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import {
  type EmbeddedPostgres,
  EmbeddedPostgresError,
  startEmbeddedPostgres,
} from '../../src/kernel/database/embedded-postgres';
import { locateBinaries, prepareBinaries } from '../../src/kernel/database/embedded-postgres-binaries';
import { fallbackHome, prepareHome } from '../../src/kernel/database/embedded-postgres-home';
import { incarnation } from '../../src/kernel/database/embedded-postgres-lock';

const asRoot = process.getuid?.() === 0;
const onLinux = process.platform === 'linux';
const settings = { fsync: 'off' };

let scratch: string;
/** Used by most tests, one after the other, whatever the one before has done to it: it has to survive that. */
let directory: string;
const running = new Set<EmbeddedPostgres>();
const children = new Set<ChildProcess>();

beforeAll(() => {
  scratch = realpathSync(mkdtempSync(join(tmpdir(), 'orderloom-pg-')));
  if (asRoot) chmodSync(scratch, 0o755);
  directory = join(scratch, 'new', 'deep', 'place');
});

afterEach(async () => {
  for (const postgres of running) await stop(postgres);
  for (const child of children) await killed(child);
  children.clear();
});

afterAll(async () => {
  // Whatever a killed child has left behind is stopped as the product does it.
  await stop(await start(directory));
  rmSync(scratch, { recursive: true, force: true });
});

describe('a start', () => {
  it('creates the database, then finds it again on the same port with everything in it', async () => {
    const first = await start(directory);
    expect(first.created).toBe(true);
    expect(first.ownerUrl).toMatch(/^postgres:\/\/orderloom:[\w-]{32}@127\.0\.0\.1:\d+\/orderloom$/);
    await query(first.ownerUrl, "CREATE TABLE words AS SELECT 'Größe 値段' AS word");
    await stop(first);

    const second = await start(directory);
    expect(second.created).toBe(false);
    expect(second.ownerUrl).toBe(first.ownerUrl);
    expect(await query(second.ownerUrl, 'SELECT word, length(word) FROM words')).toEqual([
      { word: 'Größe 値段', length: 8 },
    ]);
    // Only what is secret is closed: the parents stay as mkdir makes them.
    expect(modeOf(join(directory, 'data'))).toBe('700');
    expect(modeOf(join(directory, 'password'))).toBe('600');
    expect(modeOf(join(scratch, 'new', 'deep'))).not.toBe('700');
  });

  it('gives a UTF-8 database with builtin collation, that syncs, on the loopback only', async () => {
    const postgres = await startEmbeddedPostgres({ directory });
    running.add(postgres);
    const [row] = await query(
      postgres.ownerUrl,
      `SELECT pg_encoding_to_char(encoding) AS encoding, datlocprovider, datlocale,
              current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit,
              current_setting('listen_addresses') AS listen, current_setting('unix_socket_directories') AS sockets
       FROM pg_database WHERE datname = current_database()`,
    );
    expect(row).toEqual({
      encoding: 'UTF8',
      datlocprovider: 'b',
      datlocale: 'C.UTF-8',
      fsync: 'on',
      synchronous_commit: 'on',
      listen: '127.0.0.1',
      sockets: '',
    });
    const stranger = postgres.ownerUrl.replace(/:[\w-]{32}@/, ':guess@');
    await expect(query(stranger, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
  });

  it('takes another port when the old one has been taken', async () => {
    const squatter = createServer().listen(Number(readFileSync(join(directory, 'port'), 'utf8')), '127.0.0.1');
    await eventually(() => squatter.listening);
    const postgres = await start(directory);
    expect(await query(postgres.ownerUrl, 'SELECT 1 AS n')).toEqual([{ n: 1 }]);
    expect(readFileSync(join(directory, 'port'), 'utf8').trim()).toBe(new URL(postgres.ownerUrl).port);
    squatter.close();
  });

  it('makes a new password when the file that held it was lost', async () => {
    rmSync(join(directory, 'password'));
    const log: string[] = [];
    const postgres = await start(directory, log);
    expect(await query(postgres.ownerUrl, 'SELECT word FROM words')).toHaveLength(1);
    expect(log).toEqual([expect.stringContaining('was lost')]);
  });

  it('stops for good, as often as it is asked to', async () => {
    const postgres = await start(directory);
    const server = serverOf(directory);
    await Promise.all([postgres.stop(), postgres.stop()]);
    await postgres.stop();
    expect(incarnation(server)).toBeUndefined();
    expect(readdirSync(directory).filter((name) => name.startsWith('lock.'))).toEqual([]);
  });
});

describe('one directory, one process', () => {
  it('refuses a second process and says which one holds it', async () => {
    const holder = await childOn(directory);
    await expect(start(directory)).rejects.toThrow(EmbeddedPostgresError);
    await expect(start(directory)).rejects.toThrow(new RegExp(`process ${holder.pid} .*DATABASE_URL`));
  });

  it('refuses the same process too', async () => {
    await start(directory);
    await expect(start(directory)).rejects.toThrow(`in use by process ${process.pid}`);
  });

  it('never lets two that start at the same instant both have it', async () => {
    const rivals = [1, 2, 3].map(() => spawnChild(directory));
    await eventually(() => rivals.every((rival) => rival.heard('started') ?? rival.heard('failed')));
    expect(rivals.filter((rival) => rival.heard('started')).length).toBeLessThanOrEqual(1);
    for (const rival of rivals.filter((each) => each.heard('failed'))) {
      expect(rival.heard('failed')?.name).toBe('EmbeddedPostgresError');
    }
    await Promise.all(rivals.map((rival) => killed(rival.process)));
    await start(directory);
  });

  (onLinux ? it : it.skip)('does not mistake a recycled pid for the holder', async () => {
    const holder = await childOn(directory);
    await killed(holder.process);
    const lock = readdirSync(directory).find((name) => name.startsWith('lock.'));
    const [, , started, place] = (lock ?? '').split('.');
    // This very process lives, but it did not start when the holder did.
    renameSync(join(directory, lock ?? ''), join(directory, `lock.${process.pid}.${started}.${place}`));
    await start(directory);
  });

  (onLinux ? it : it.skip)('believes a holder in another container as long as its lock has a pulse', async () => {
    const lock = join(directory, 'lock.1.1.elsewhere');
    writeFileSync(lock, '');
    const pulse = setInterval(() => writeFileSync(lock, ''), 100);
    await expect(start(directory)).rejects.toThrow('process 1 (in another container or on another machine)');
    clearInterval(pulse);
    execFileSync('touch', ['-d', '1 minute ago', lock]);
    await start(directory);
  });
});

describe('after violence', () => {
  it('stops the server that a killed process left behind and has every committed row', async () => {
    const { process: child, url } = await childOn(directory);
    await query(url, 'CREATE TABLE orphaned AS SELECT 1 AS n');
    const orphan = serverOf(directory);
    await killed(child);
    expect(incarnation(orphan)).toBeDefined();

    const log: string[] = [];
    const postgres = await start(directory, log);
    expect(log).toEqual([expect.stringContaining(`process ${orphan}`)]);
    expect(incarnation(orphan)).toBeUndefined();
    expect(await query(postgres.ownerUrl, 'SELECT n FROM orphaned')).toEqual([{ n: 1 }]);
  });

  it('recovers from the log when process and server were both killed', async () => {
    const { process: child, url } = await childOn(directory);
    await query(url, 'CREATE TABLE logged AS SELECT generate_series(1, 1000) AS n');
    const server = serverOf(directory);
    // The child first, or it would restart the server.
    await killed(child);
    process.kill(server, 'SIGKILL');

    const postgres = await start(directory);
    expect(await query(postgres.ownerUrl, 'SELECT count(*)::int AS n FROM logged')).toEqual([{ n: 1000 }]);
    expect(readFileSync(join(directory, 'server.log'), 'utf8')).toContain('automatic recovery in progress');
  });

  it('is not misled by a pid file that names some other living process', async () => {
    const { uid, gid } = statSync(join(directory, 'data'));
    const bystander = spawn('sleep', ['60'], asRoot ? { uid, gid } : {});
    children.add(bystander);
    const pidFile = join(directory, 'data', 'postmaster.pid');
    writeFileSync(pidFile, `${bystander.pid}\n${join(directory, 'data')}\n1\n5432\n\n127.0.0.1\n1 1\nready   \n`);

    const postgres = await start(directory);
    expect(await query(postgres.ownerUrl, 'SELECT 1 AS n')).toEqual([{ n: 1 }]);
    expect(incarnation(bystander.pid ?? 0)).toBeDefined();
  });

  it('begins anew after an initdb that was killed half way', async () => {
    const half = join(scratch, 'half');
    const child = spawnChild(half);
    await eventually(() => existsSync(half) && readdirSync(half).some((name) => name.startsWith('data.new-')));
    await killed(child.process);
    expect(existsSync(join(half, 'data'))).toBe(false);

    const postgres = await start(half);
    expect(postgres.created).toBe(true);
    expect(await query(postgres.ownerUrl, 'SELECT 1 AS n')).toEqual([{ n: 1 }]);
    expect(readdirSync(half).filter((name) => name.startsWith('data'))).toEqual(['data']);
  });

  it('restarts a server that dies, on the same port, and gives up when it dies again and again', async () => {
    const log: string[] = [];
    const postgres = await start(directory, log);
    await query(postgres.ownerUrl, 'CREATE TABLE deaths (n int)');
    for (let death = 1; death <= 6; death++) {
      await query(postgres.ownerUrl, `INSERT INTO deaths VALUES (${death})`);
      process.kill(serverOf(directory), 'SIGKILL');
      // Two lines a death: it restarts, it accepts connections.
      if (death <= 5) await eventually(() => log.length === 2 * death);
    }
    expect(await postgres.gone).toContain('giving up after 5 restarts within a minute');
    expect(log[9]).toContain('accepts connections again');
    expect(log[0]).toMatch(/process \d+ was ended by SIGKILL; restarting it \(1 of at most 5/);
    await stop(postgres);
    expect(await query((await start(directory)).ownerUrl, 'SELECT count(*)::int AS n FROM deaths')).toEqual([{ n: 6 }]);
  });

  it('outlives Ctrl-C, which reaches the whole process group, until the application has drained', async () => {
    const { process: child, pid, heard } = await childOn(directory);
    process.kill(-pid, 'SIGINT');
    await eventually(() => child.exitCode !== null);
    expect(heard('stopped')).toMatchObject({ answer: 42 });
  });
});

describe('where it cannot run as it is', () => {
  it('names the missing package and the way out', () => {
    expect(() => locateBinaries('plan9', 'mips')).toThrow(EmbeddedPostgresError);
    expect(() => locateBinaries('plan9', 'mips')).toThrow(/@embedded-postgres\/plan9-mips.*set DATABASE_URL/);
  });

  it('says so when the directory cannot be made', async () => {
    const file = join(scratch, 'file');
    writeFileSync(file, '');
    await expect(start(join(file, 'below'))).rejects.toThrow(EmbeddedPostgresError);
    await expect(start(join(file, 'below'))).rejects.toThrow(/ENOTDIR.*set DATABASE_URL/);
  });

  it('does not touch files that are no cluster of ours', async () => {
    const precious = join(scratch, 'precious');
    mkdirSync(join(precious, 'data'), { recursive: true });
    writeFileSync(join(precious, 'data', 'thesis.txt'), 'six years');
    await expect(start(precious)).rejects.toThrow('holds no Postgres cluster');
    expect(readFileSync(join(precious, 'data', 'thesis.txt'), 'utf8')).toBe('six years');
  });

  it('creates the library links that a package without its install script lacks', async () => {
    const native = unlinkedBinaries();
    const bin = await prepareBinaries(await homeFor('links'), native, fail);
    expect(bin).toBe(join(native, 'bin'));
    expect(lstatSync(join(native, 'lib', 'libpq.so.5')).isSymbolicLink()).toBe(true);
  });

  it('copies binaries that it cannot use in place, once', async () => {
    const native = unlinkedBinaries();
    // Root may write everywhere but the user it drops to may not enter; an ordinary user may not write.
    if (asRoot) chmodSync(join(scratch, 'package'), 0o700);
    else chmodSync(join(native, 'lib'), 0o555);
    const log: string[] = [];
    const home = await homeFor('copies');
    const bin = await prepareBinaries(home, native, (line) => log.push(line));
    expect(bin.startsWith(home.path)).toBe(true);
    expect(await prepareBinaries(home, native, (line) => log.push(line))).toBe(bin);
    expect(log).toEqual([expect.stringContaining('copying them')]);
    chmodSync(join(native, 'lib'), 0o755);
  });

  (asRoot ? it : it.skip)('lives elsewhere when the user that root drops to cannot reach the directory', async () => {
    mkdirSync(join(scratch, 'roots'), { mode: 0o700 });
    const closed = join(scratch, 'roots', 'app', 'data');
    const elsewhere = fallbackHome(closed);
    const log: string[] = [];
    try {
      const postgres = await start(closed, log);
      expect(log[0]).toContain(`lives in ${elsewhere}`);
      await stop(postgres);
      // It stays there, or data would seem lost on the day that somebody opens the directory.
      chmodSync(join(scratch, 'roots'), 0o755);
      expect((await start(closed)).created).toBe(false);
    } finally {
      for (const postgres of running) await stop(postgres);
      rmSync(elsewhere, { recursive: true, force: true });
    }
  });

  (asRoot ? it : it.skip)('uses an empty directory that only root could enter', async () => {
    const made = mkdtempSync(join(scratch, 'private-'));
    expect((await prepareHome(made, fail)).path).toBe(made);
    expect(modeOf(made)).toBe('700');
  });
});

async function start(where: string, log: string[] = []) {
  const postgres = await startEmbeddedPostgres({ directory: where, settings, log: (line) => log.push(line) });
  running.add(postgres);
  return postgres;
}

async function stop(postgres: EmbeddedPostgres): Promise<void> {
  running.delete(postgres);
  await postgres.stop();
}

function fail(line: string): void {
  throw new Error(`unexpected: ${line}`);
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end().catch(() => undefined);
  }
}

function homeFor(name: string) {
  return prepareHome(join(scratch, name), fail);
}

/** As npm unpacks the package, before its install script has run. */
function unlinkedBinaries(): string {
  const native = join(scratch, 'package', 'native');
  if (!existsSync(native)) {
    mkdirSync(join(scratch, 'package'));
    execFileSync('cp', ['-a', locateBinaries(), native]);
  }
  execFileSync('find', [join(native, 'lib'), '-type', 'l', '-delete']);
  return native;
}

function modeOf(path: string): string {
  return (statSync(path).mode & 0o777).toString(8);
}

function serverOf(where: string): number {
  return Number(readFileSync(join(where, 'data', 'postmaster.pid'), 'utf8').split('\n')[0]);
}

type Message = { at?: string; url?: string; name?: string; answer?: number };

/** A node process with an embedded Postgres, in a process group of its own as a terminal would make it. */
function spawnChild(where: string) {
  const script = join(__dirname, 'fixtures', 'embedded-postgres-child.js');
  const child = spawn(process.execPath, [script, where], { detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  let said = '';
  child.stdout.on('data', (text: Buffer) => (said += text.toString()));
  const heard = (at: string) =>
    said
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Message)
      .find((message) => message.at === at);
  return { process: child, pid: child.pid ?? 0, heard };
}

async function childOn(where: string) {
  const child = spawnChild(where);
  await eventually(() => child.heard('started') ?? child.heard('failed'));
  const url = child.heard('started')?.url;
  if (!url) throw new Error(`the child did not start: ${JSON.stringify(child.heard('failed'))}`);
  return { ...child, url };
}

async function killed(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await eventually(() => child.exitCode !== null || child.signalCode !== null);
}

async function eventually(condition: () => unknown): Promise<void> {
  const deadline = Date.now() + 15_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('it did not happen within 15 s');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
