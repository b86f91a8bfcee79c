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
/** A cluster with one committed row, copied by the tests that would otherwise wait for initdb. */
let template: string;
const running = new Set<EmbeddedPostgres>();
const children = new Set<ChildProcess>();

beforeAll(async () => {
  scratch = realpathSync(mkdtempSync(join(tmpdir(), 'orderloom-pg-')));
  if (asRoot) chmodSync(scratch, 0o755);
  template = join(scratch, 'template');
  const postgres = await start(template);
  await query(postgres.url, 'CREATE TABLE kept AS SELECT 1 AS n');
  await stop(postgres);
});

afterEach(async () => {
  for (const postgres of running) await stop(postgres);
  for (const child of children) child.kill('SIGKILL');
  children.clear();
});

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe('a start', () => {
  it('creates the database, then finds it again on the same port with everything in it', async () => {
    const directory = join(scratch, 'new', 'deep', 'place');
    const first = await start(directory);
    expect(first.created).toBe(true);
    expect(first.url).toMatch(/^postgres:\/\/orderloom:[\w-]{32}@127\.0\.0\.1:\d+\/orderloom$/);
    await query(first.url, "CREATE TABLE words AS SELECT 'Größe 値段' AS word");
    await stop(first);

    const second = await start(directory);
    expect(second.created).toBe(false);
    expect(second.url).toBe(first.url);
    expect(await query(second.url, 'SELECT word, length(word) FROM words')).toEqual([
      { word: 'Größe 値段', length: 8 },
    ]);
    // Only what is secret is closed: the parents stay as mkdir makes them.
    expect(modeOf(join(directory, 'data'))).toBe('700');
    expect(modeOf(join(directory, 'password'))).toBe('600');
    expect(modeOf(join(scratch, 'new', 'deep'))).not.toBe('700');
  });

  it('gives a UTF-8 database with builtin collation, that syncs, on the loopback only', async () => {
    const postgres = await startEmbeddedPostgres({ directory: copyOfTemplate() });
    running.add(postgres);
    const [row] = await query(
      postgres.url,
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
    const stranger = postgres.url.replace(/:[\w-]{32}@/, ':guess@');
    await expect(query(stranger, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
  });

  it('takes another port when the old one has been taken', async () => {
    const [one, two] = [copyOfTemplate(), copyOfTemplate()];
    const first = await start(one);
    writeFileSync(join(two, 'port'), new URL(first.url).port);
    const second = await start(two);
    expect(new URL(second.url).port).not.toBe(new URL(first.url).port);
    expect(await kept(second.url)).toBe(1);
  });

  it('makes a new password when the file that held it was lost', async () => {
    const directory = copyOfTemplate();
    rmSync(join(directory, 'password'));
    const log: string[] = [];
    const postgres = await start(directory, log);
    expect(await kept(postgres.url)).toBe(1);
    expect(log).toEqual([expect.stringContaining('was lost')]);
  });

  it('stops for good, as often as it is asked to', async () => {
    const directory = copyOfTemplate();
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
    const directory = copyOfTemplate();
    const holder = await childOn(directory);
    await expect(start(directory)).rejects.toThrow(EmbeddedPostgresError);
    await expect(start(directory)).rejects.toThrow(new RegExp(`process ${holder.pid} .*DATABASE_URL`));
  });

  it('refuses the same process too', async () => {
    const directory = copyOfTemplate();
    await start(directory);
    await expect(start(directory)).rejects.toThrow(`in use by process ${process.pid}`);
  });

  it('lets exactly one of several that start at the same instant have it', async () => {
    const directory = copyOfTemplate();
    const rivals = [1, 2, 3].map(() => spawnChild(directory));
    await eventually(() => rivals.every((rival) => rival.heard('started') ?? rival.heard('failed')));
    expect(rivals.filter((rival) => rival.heard('started')).length).toBeLessThanOrEqual(1);
    for (const rival of rivals.filter((each) => each.heard('failed'))) {
      expect(rival.heard('failed')?.name).toBe('EmbeddedPostgresError');
    }
    await Promise.all(rivals.map((rival) => killed(rival.process)));
    expect(await kept((await start(directory)).url)).toBe(1);
  });

  (onLinux ? it : it.skip)('does not mistake a recycled pid for the holder', async () => {
    const directory = copyOfTemplate();
    const holder = await childOn(directory);
    await killed(holder.process);
    const lock = readdirSync(directory).find((name) => name.startsWith('lock.'));
    const [, , started, place] = (lock ?? '').split('.');
    // This very process lives, but it did not start when the holder did.
    renameSync(join(directory, lock ?? ''), join(directory, `lock.${process.pid}.${started}.${place}`));
    expect(await kept((await start(directory)).url)).toBe(1);
  });

  (onLinux ? it : it.skip)('believes a holder in another container as long as its lock has a pulse', async () => {
    const directory = copyOfTemplate();
    const lock = join(directory, 'lock.1.1.elsewhere');
    writeFileSync(lock, '');
    const pulse = setInterval(() => writeFileSync(lock, ''), 100);
    await expect(start(directory)).rejects.toThrow('process 1 (in another container or on another machine)');
    clearInterval(pulse);
    execFileSync('touch', ['-d', '1 minute ago', lock]);
    expect(await kept((await start(directory)).url)).toBe(1);
  });
});

describe('after violence', () => {
  it('stops the server that a killed process left behind and has every committed row', async () => {
    const directory = copyOfTemplate();
    const { process: child, url } = await childOn(directory);
    await query(url, 'INSERT INTO kept VALUES (2)');
    const orphan = serverOf(directory);
    await killed(child);
    expect(incarnation(orphan)).toBeDefined();

    const log: string[] = [];
    const postgres = await start(directory, log);
    expect(log).toEqual([expect.stringContaining(`process ${orphan}`)]);
    expect(incarnation(orphan)).toBeUndefined();
    expect(await kept(postgres.url)).toBe(2);
  });

  it('recovers from the log when process and server were both killed', async () => {
    const directory = copyOfTemplate();
    const { process: child, url } = await childOn(directory);
    await query(url, 'INSERT INTO kept SELECT generate_series(2, 1000)');
    const server = serverOf(directory);
    // The child first, or it would restart the server.
    await killed(child);
    process.kill(server, 'SIGKILL');

    const postgres = await start(directory);
    expect(await kept(postgres.url)).toBe(1000);
    expect(readFileSync(join(directory, 'server.log'), 'utf8')).toContain('automatic recovery in progress');
  });

  it('is not misled by a pid file that names some other living process', async () => {
    const directory = copyOfTemplate();
    const { uid, gid } = statSync(join(directory, 'data'));
    const bystander = spawn('sleep', ['60'], asRoot ? { uid, gid } : {});
    children.add(bystander);
    const pidFile = join(directory, 'data', 'postmaster.pid');
    writeFileSync(pidFile, `${bystander.pid}\n${join(directory, 'data')}\n1\n5432\n\n127.0.0.1\n1 1\nready   \n`);

    expect(await kept((await start(directory)).url)).toBe(1);
    expect(incarnation(bystander.pid ?? 0)).toBeDefined();
  });

  it('begins anew after an initdb that was killed half way', async () => {
    const directory = join(scratch, 'half');
    const child = spawnChild(directory);
    await eventually(
      () => existsSync(directory) && readdirSync(directory).some((name) => name.startsWith('data.new-')),
    );
    await killed(child.process);
    expect(existsSync(join(directory, 'data'))).toBe(false);

    const postgres = await start(directory);
    expect(postgres.created).toBe(true);
    expect(await query(postgres.url, 'SELECT 1 AS n')).toEqual([{ n: 1 }]);
    expect(readdirSync(directory).filter((name) => name.startsWith('data'))).toEqual(['data']);
  });

  it('restarts a server that dies, on the same port, and gives up when it dies again and again', async () => {
    const directory = copyOfTemplate();
    const log: string[] = [];
    const postgres = await start(directory, log);
    for (let death = 1; death <= 6; death++) {
      await query(postgres.url, `INSERT INTO kept VALUES (${death})`);
      process.kill(serverOf(directory), 'SIGKILL');
      const told = death <= 5 ? 'accepts connections again' : 'giving up after 5 restarts within a minute';
      await eventually(() => log.at(-1)?.includes(told));
      if (death <= 5) expect(await kept(postgres.url)).toBe(1 + death);
    }
    expect(log[0]).toMatch(/process \d+ was ended by SIGKILL; restarting it \(1 of at most 5/);
    await stop(postgres);
    expect(await kept((await start(directory)).url)).toBe(7);
  });

  it('outlives Ctrl-C, which reaches the whole process group, until the application has drained', async () => {
    const { process: child, pid, heard } = await childOn(copyOfTemplate());
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
    const directory = join(scratch, 'precious');
    mkdirSync(join(directory, 'data'), { recursive: true });
    writeFileSync(join(directory, 'data', 'thesis.txt'), 'six years');
    await expect(start(directory)).rejects.toThrow('holds no Postgres cluster');
    expect(readFileSync(join(directory, 'data', 'thesis.txt'), 'utf8')).toBe('six years');
  });

  it('creates the library links that a package without its install script lacks', async () => {
    const native = unlinkedBinaries('package');
    const bin = await prepareBinaries(await homeFor('links'), native, fail);
    expect(bin).toBe(join(native, 'bin'));
    expect(lstatSync(join(native, 'lib', 'libpq.so.5')).isSymbolicLink()).toBe(true);
  });

  it('copies binaries that it cannot use in place, once', async () => {
    const native = unlinkedBinaries('closed');
    // Root may write everywhere but the user it drops to may not enter; an ordinary user may not write.
    if (asRoot) chmodSync(join(scratch, 'closed'), 0o700);
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
    const directory = join(scratch, 'roots', 'app', 'data');
    const elsewhere = fallbackHome(directory);
    const log: string[] = [];
    try {
      const postgres = await start(directory, log);
      expect(log).toEqual([expect.stringContaining(`lives in ${elsewhere}`)]);
      await stop(postgres);
      // It stays there, or data would seem lost on the day that somebody opens the directory.
      chmodSync(join(scratch, 'roots'), 0o755);
      expect((await start(directory)).created).toBe(false);
    } finally {
      for (const postgres of running) await stop(postgres);
      rmSync(elsewhere, { recursive: true, force: true });
    }
  });

  (asRoot ? it : it.skip)('uses an empty directory that only root could enter', async () => {
    const directory = mkdtempSync(join(scratch, 'private-'));
    await start(directory, [], fail);
    expect(modeOf(directory)).toBe('700');
  });
});

async function start(directory: string, log: string[] = [], onLog: (line: string) => void = () => undefined) {
  const postgres = await startEmbeddedPostgres({ directory, settings, log: (line) => (log.push(line), onLog(line)) });
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

async function kept(url: string): Promise<number> {
  const [row] = await query(url, 'SELECT count(*) AS rows FROM kept');
  return Number(row?.rows);
}

let copies = 0;
function copyOfTemplate(): string {
  const directory = join(scratch, `copy-${++copies}`);
  execFileSync('cp', ['-a', template, directory]);
  return directory;
}

function homeFor(name: string) {
  return prepareHome(join(scratch, name), fail);
}

/** As npm unpacks the package, before its install script has run. */
function unlinkedBinaries(name: string): string {
  const native = join(scratch, name, 'native');
  mkdirSync(join(scratch, name));
  execFileSync('cp', ['-a', locateBinaries(), native]);
  execFileSync('find', [join(native, 'lib'), '-type', 'l', '-delete']);
  return native;
}

function modeOf(path: string): string {
  return (statSync(path).mode & 0o777).toString(8);
}

function serverOf(directory: string): number {
  return Number(readFileSync(join(directory, 'data', 'postmaster.pid'), 'utf8').split('\n')[0]);
}

type Message = { at?: string; url?: string; name?: string; answer?: number };

/** A node process with an embedded Postgres, in a process group of its own as a terminal would make it. */
function spawnChild(directory: string) {
  const script = join(__dirname, 'fixtures', 'embedded-postgres-child.js');
  const child = spawn(process.execPath, [script, directory], { detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
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

async function childOn(directory: string) {
  const child = spawnChild(directory);
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
