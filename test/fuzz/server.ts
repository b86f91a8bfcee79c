import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppProcess, embeddedUrl, freePort } from '../process/app-process';

/** What is fuzzed: an app of our own, or one that runs already. */
export interface Target {
  readonly url: string;
  readonly admin: { readonly username: string; readonly password: string };
  readonly databaseUrl: string | undefined;
  /** Signs its access tokens, if it is known. */
  readonly secret: string | undefined;
  /** All it has written to its log. */
  log(): string;
  /** Memory that it takes now and took at most, in MiB, and what it has computed; undefined where the system does not say. */
  memory(): { now: number; most: number; cpuSeconds: number } | undefined;
  close(): Promise<void>;
}

/** The built app over an embedded Postgres of its own, as `npm start` runs it. */
export async function startTarget(): Promise<Target> {
  const directory = mkdtempSync(join(tmpdir(), 'orderloom-fuzz-'));
  chmodSync(directory, 0o755);
  const dataDirectory = join(directory, 'data');
  const admin = { username: 'root@example.com', password: 'a password for fuzz runs, copper lantern' };
  const secret = randomBytes(32).toString('hex');
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const app = new AppProcess({
    DATA_DIR: dataDirectory,
    PORT: String(port),
    ADMIN_EMAIL: admin.username,
    ADMIN_PASSWORD: admin.password,
    JWT_SECRET: secret,
    ACCESS_TOKEN_SECONDS: '86400',
    LOG_LEVEL: 'warn',
    NODE_ENV: 'test',
  });
  const close = async () => {
    await app.end();
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    await app.ready(url, 90_000);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    url,
    admin,
    secret,
    databaseUrl: embeddedUrl(dataDirectory),
    log: () => app.output,
    memory: () => memoryOf(app.pid),
    close,
  };
}

/** An app that somebody else runs. Without its database's address the rows and events go unchecked. */
export function foreignTarget(
  url: string,
  username: string,
  password: string,
  databaseUrl: string | undefined,
): Target {
  return {
    url: new URL(url).origin,
    admin: { username, password },
    databaseUrl,
    secret: undefined,
    log: () => '',
    memory: () => undefined,
    close: async () => undefined,
  };
}

function memoryOf(pid: number): ReturnType<Target['memory']> {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const mib = (name: string) => Math.round(Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)![1]) / 1024);
    // in hundredths of a second, after the name in brackets
    const times = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ').slice(11, 13);
    const cpuSeconds = times.reduce((sum, time) => sum + Number(time) / 100, 0);
    return { now: mib('VmRSS'), most: mib('VmHWM'), cpuSeconds };
  } catch {
    return undefined;
  }
}
