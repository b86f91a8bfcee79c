import { randomBytes } from 'node:crypto';
import { chmod, type FileHandle, link, mkdir, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type Config, ConfigError } from './config';
import { weaknessOf } from './secret-strength';

const onWindows = process.platform === 'win32';

/**
 * The configured secret, or a random one that is kept with mode 0600 in the data directory. Processes that start
 * together on one directory get the same one, and a start that fails half way leaves none behind.
 *
 * @param log gets a line when the file was open to other users
 * @throws ConfigError when the file is broken, or cannot be read or written
 */
export async function signingSecret(
  { JWT_SECRET, DATA_DIR }: Pick<Config, 'JWT_SECRET' | 'DATA_DIR'>,
  log: (line: string) => void = () => undefined,
): Promise<string> {
  if (JWT_SECRET) return JWT_SECRET;
  const path = join(DATA_DIR, 'signing-secret');
  try {
    const kept = await read(path, log);
    if (kept !== undefined) return kept;
    await mkdir(DATA_DIR, { recursive: true });
    await create(path);
    return (await read(path, log))!;
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(
      `The signing secret cannot be kept in ${path} (${(error as Error).message}): ` +
        'remove the cause, choose another DATA_DIR, or set JWT_SECRET.',
    );
  }
}

/** Undefined when there is no file. */
async function read(path: string, log: (line: string) => void): Promise<string | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    if (!onWindows && ((await file.stat()).mode & 0o077) !== 0) {
      await chmod(path, 0o600);
      log(
        `${path} was open to other users of this machine and is not any more. If one of them may have read it, ` +
          'delete it and start again: a new secret is made, and everybody has to sign in again.',
      );
    }
    const secret = await file.readFile('utf8');
    const weakness = secret === '' ? 'is empty' : weaknessOf(secret);
    // Not replaced: another process may be using it, and somebody may have signed tokens with it.
    if (weakness) {
      throw new ConfigError(
        `The signing secret in ${path} ${weakness}, so access tokens could be forged: delete the file and start ` +
          'again (a new secret is made, and everybody has to sign in again), or set JWT_SECRET to the output of openssl rand -hex 32.',
      );
    }
    return secret;
  } finally {
    await file.close();
  }
}

/** Under another name first: the file has its final name only once it is complete, and the first to name it wins. */
async function create(path: string): Promise<void> {
  const unfinished = `${path}.${randomBytes(8).toString('hex')}`;
  try {
    const file = await open(unfinished, 'wx', 0o600);
    try {
      await file.writeFile(randomBytes(48).toString('base64url'));
      await file.sync();
    } finally {
      await file.close();
    }
    await link(unfinished, path).catch((error: NodeJS.ErrnoException) => {
      // another process was first, and its secret counts
      if (error.code !== 'EEXIST') throw error;
    });
  } finally {
    await unlink(unfinished).catch(() => undefined);
  }
  if (onWindows) return;
  const directory = await open(join(path, '..'), 'r');
  await directory.sync().finally(() => directory.close());
}
