import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { EmbeddedPostgresError } from './embedded-postgres-lock';

/** The superuser that initdb creates. It owns the schemas; the application connects as {@link APPLICATION_ROLE}. */
export const ROLE = 'orderloom';
export const APPLICATION_ROLE = 'orderloom_app';

/** A user of the system that the server runs as, when we are root; Postgres refuses to run as root. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** Where all of it lives: `data` (the cluster), `password`, `app-password`, `port`, `server.log` and the lock. */
export interface Home {
  readonly path: string;
  readonly data: string;
  readonly account: Account | undefined;
}

export type Log = (line: string) => void;

export const exe = (name: string) => (process.platform === 'win32' ? `${name}.exe` : name);

/** How every process of ours is started: as the account, outside node's directory, without PG* variables. */
export function spawnOptions({ path, account }: Pick<Home, 'path' | 'account'>) {
  return {
    cwd: path,
    env: { PATH: process.env.PATH, SystemRoot: process.env.SystemRoot, HOME: path, LC_ALL: 'C' },
    windowsHide: true,
    ...(account && { uid: account.uid, gid: account.gid }),
  };
}

/** @param signal ends it, and the processes that it has started */
export async function run(
  where: Pick<Home, 'path' | 'account'>,
  command: string,
  args: string[],
  { input = '', signal }: { readonly input?: string; readonly signal?: AbortSignal } = {},
) {
  return new Promise<{ ok: boolean; output: string }>((settle) => {
    let output = '';
    const failed = (error: Error) => settle({ ok: false, output: error.message });
    try {
      // a group of its own, so that a signal reaches its children, and Ctrl-C does not
      const child = spawn(command, args, { ...spawnOptions(where), detached: signal !== undefined });
      const abort = () => killGroup(child.pid);
      signal?.addEventListener('abort', abort, { once: true });
      child.on('close', () => signal?.removeEventListener('abort', abort));
      if (signal?.aborted) abort();
      child.on('error', failed).on('close', (code) => settle({ ok: code === 0, output }));
      child.stdout.on('data', (text: Buffer) => (output += text.toString()));
      child.stderr.on('data', (text: Buffer) => (output += text.toString()));
      child.stdin.on('error', () => undefined).end(input);
    } catch (error) {
      failed(error as Error);
    }
  });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(process.platform === 'win32' ? pid : -pid, 'SIGKILL');
  } catch {
    // it has ended
  }
}

/** The line of some output that names the cause. */
export function oneLine(output: string): string {
  const lines = output.split('\n').map((line) => line.trim());
  const cause = lines.find((line) => /error|fatal|panic/i.test(line)) ?? lines.findLast((line) => line !== '');
  return (cause ?? 'no reason given').replace(/^.*?(initdb: error|FATAL|PANIC):\s*/, '');
}

/** Directories below a root-only parent (/root is one) get their home here instead. */
export function fallbackHome(directory: string): string {
  return `/var/lib/orderloom/${createHash('sha256').update(resolve(directory)).digest('hex').slice(0, 16)}`;
}

/** mkdir -p; with root's umask 077 the new parents would lock out the account, so root opens those it made. */
function makeDirectory(path: string): string {
  const first = mkdirSync(resolve(path), { recursive: true });
  if (first && process.getuid?.() === 0) {
    for (let made = resolve(path); made.startsWith(first); made = dirname(made)) chmodSync(made, 0o755);
  }
  return realpathSync(path);
}

function serverAccount(data: string): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .map(([name = '', , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }));
  // A cluster belongs to whoever made it, such as the ordinary user of the day before.
  const owner = statSync(data, { throwIfNoEntry: false });
  if (owner && owner.uid !== 0) {
    return users.find(({ uid }) => uid === owner.uid) ?? { name: `uid ${owner.uid}`, uid: owner.uid, gid: owner.gid };
  }
  const account = users.find(({ name }) => name === 'postgres') ?? users.find(({ name }) => name === 'nobody');
  if (account) return account;
  throw new EmbeddedPostgresError(
    'Postgres refuses to run as root and /etc/passwd has neither a user postgres nor nobody: ' +
      'add one, start as an ordinary user, or set DATABASE_URL',
  );
}

/** Settles where the cluster lives and as whom the server runs. */
export async function prepareHome(directory: string, log: Log): Promise<Home> {
  const path = makeDirectory(directory);
  const home = { path, data: join(path, 'data'), account: serverAccount(join(path, 'data')) };
  if (!home.account) return home;
  const elsewhere = fallbackHome(directory);
  const here = existsSync(home.data);
  // Once it has been made elsewhere it stays there, even if the directory can be reached by now.
  if (here || !existsSync(join(elsewhere, 'data'))) {
    const reach = () => run({ ...home, path: '/' }, '/bin/sh', ['-c', 'cd -- "$1"', 'sh', path]);
    let { ok, output } = await reach();
    if (output.startsWith('spawn ')) {
      throw new EmbeddedPostgresError(
        `Postgres refuses to run as root, and this root may not start it as ${home.account.name} (${output}): ` +
          'start as an ordinary user or set DATABASE_URL',
      );
    }
    if (!ok && readdirSync(path).length === 0) {
      // An empty one, 0700 and root's, may only have been made for us: mkdtemp does it, or a volume.
      chownSync(path, home.account.uid, home.account.gid);
      ({ ok, output } = await reach());
    }
    if (ok) return home;
    if (here) {
      throw new EmbeddedPostgresError(
        `User ${home.account.name}, as whom Postgres has to run, cannot reach ${path} (${oneLine(output)}): ` +
          'open the directories above it (chmod o+x), start as an ordinary user, or set DATABASE_URL',
      );
    }
  }
  log(`user ${home.account.name} cannot reach ${path}: the database lives in ${elsewhere}`);
  makeDirectory(elsewhere);
  return { path: elsewhere, data: join(elsewhere, 'data'), account: serverAccount(join(elsewhere, 'data')) };
}

function writePrivate(home: Home, path: string, text: string): void {
  rmSync(`${path}.new`, { force: true });
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  if (home.account) chownSync(`${path}.new`, home.account.uid, home.account.gid);
  renameSync(`${path}.new`, path);
}

function readPassword(path: string): string | undefined {
  return (existsSync(path) && readFileSync(path, 'utf8').trim()) || undefined;
}

/** Of the owner, once there is a cluster. */
export const ownerPassword = (home: Home) => readPassword(join(home.path, 'password'));

const newPassword = () => randomBytes(24).toString('base64url');

/** Of the application's role; a new one when there is none, which the role has to be given then. */
export function applicationPassword(home: Home): string {
  const file = join(home.path, 'app-password');
  const known = readPassword(file);
  if (known) return known;
  const password = newPassword();
  writePrivate(home, file, password);
  return password;
}

/** In single-user mode, which asks for no password; the server must not run. */
async function resetPassword(home: Home, bin: string, password: string): Promise<void> {
  const statement = `ALTER ROLE ${ROLE} PASSWORD '${password}';\n`;
  const { ok, output } = await run(home, join(bin, exe('postgres')), ['--single', '-D', home.data, 'postgres'], {
    input: statement,
  });
  if (ok && !/ERROR|FATAL/.test(output)) return;
  throw new EmbeddedPostgresError(
    `The password of the database in ${home.path} is lost and cannot be renewed (${oneLine(output)}): ` +
      'restore the file named password or set DATABASE_URL',
  );
}

/** initdb has synced the files, but the rename is ours. */
function syncDirectory(path: string): void {
  const directory = openSync(path, 'r');
  fsyncSync(directory);
  closeSync(directory);
}

/**
 * Makes the cluster unless it is there. initdb works under another name, so that one which was
 * interrupted is never taken for a cluster.
 */
export async function prepareCluster(home: Home, bin: string, durable: boolean, log: Log, signal?: AbortSignal) {
  const created = !existsSync(join(home.data, 'global', 'pg_control'));
  const passwordFile = join(home.path, 'password');
  const known = readPassword(passwordFile);
  const password = known ?? newPassword();
  if (!known && !created) {
    log(`${passwordFile} was lost: giving ${ROLE} a new password`);
    await resetPassword(home, bin, password);
  }
  if (!known) writePrivate(home, passwordFile, password);

  for (const name of readdirSync(home.path).filter((entry) => entry.startsWith('data.new-'))) {
    rmSync(join(home.path, name), { recursive: true, force: true, maxRetries: 5 });
  }
  if (created) {
    if (existsSync(home.data) && readdirSync(home.data).length > 0) {
      throw new EmbeddedPostgresError(
        `${home.data} is not empty and holds no Postgres cluster: move it away, choose another directory, or set DATABASE_URL`,
      );
    }
    log(`Creating a database in ${home.path}, which takes some seconds`);
    const unfinished = join(home.path, `data.new-${randomBytes(4).toString('hex')}`);
    mkdirSync(unfinished, { mode: 0o700 });
    if (home.account) chownSync(unfinished, home.account.uid, home.account.gid);
    const options = [
      ...['-D', unfinished, '--username', ROLE, '--auth', 'scram-sha-256', '--pwfile', passwordFile],
      // Without all four the result depends on the environment: SQL_ASCII, or an initdb that fails.
      ...['--encoding=UTF8', '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C'],
      ...['--no-instructions', ...(durable ? [] : ['--no-sync'])],
    ];
    const { ok, output } = await run(home, join(bin, exe('initdb')), options, { signal });
    if (!ok) {
      rmSync(unfinished, { recursive: true, force: true, maxRetries: 5 });
      throw new EmbeddedPostgresError(
        `The database could not be created in ${home.path} (${oneLine(output)}): remove the cause or set DATABASE_URL`,
      );
    }
    rmSync(home.data, { recursive: true, force: true });
    renameSync(unfinished, home.data);
    if (durable && process.platform !== 'win32') syncDirectory(home.path);
  }
  return { created, password };
}
