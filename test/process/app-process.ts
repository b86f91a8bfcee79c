import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const root = join(__dirname, '../..');

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** ms from the start. */
  readonly after: number;
}

/** The built app as a process of its own, as `npm start` runs it. */
export class AppProcess {
  readonly startedAt = Date.now();
  readonly exited: Promise<Exit>;
  private readonly child: ChildProcess;
  private out = '';
  private ended: Exit | undefined;

  /**
   * @param cwd holds the built app: the repository itself, or a copy of it
   * @param program what is run of it
   */
  constructor(
    env: Readonly<Record<string, string>>,
    args: readonly string[] = [],
    cwd = root,
    program: 'main' | 'replicas/start' = 'main',
  ) {
    this.child = spawn(process.execPath, ['--enable-source-maps', `dist/src/${program}.js`, ...args], {
      cwd,
      // not ours: a DATABASE_URL of whoever runs the tests must not be touched. Several run at once, each on some free port
      env: { PATH: process.env['PATH'], PORT: '0', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.out += text));
    }
    // 'close' and not 'exit': everything that it said has been read by then
    this.exited = new Promise((resolve) =>
      this.child.once('close', (code, signal) => {
        this.ended = { code, signal, after: Date.now() - this.startedAt };
        resolve(this.ended);
      }),
    );
  }

  get pid(): number {
    return this.child.pid!;
  }

  get running(): boolean {
    return this.ended === undefined;
  }

  /** What it has written to its standard output and error so far. */
  get output(): string {
    return this.out;
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Resolves once it answers that it can work. @returns ms from the start */
  async ready(url: string, timeoutMs = 30_000): Promise<number> {
    const deadline = Date.now() + timeoutMs;
    while (Date.now() < deadline) {
      if (this.ended) throw new Error(`It ended with ${this.ended.code ?? this.ended.signal}: ${this.out}`);
      if (await isReady(url)) return Date.now() - this.startedAt;
      await delay(20);
    }
    throw new Error(`It is not ready after ${timeoutMs} ms: ${this.out}`);
  }

  /** Resolves once its output matches. */
  async says(pattern: RegExp, timeoutMs = 15_000): Promise<RegExpExecArray> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const found = pattern.exec(this.out);
      if (found) return found;
      if (this.ended || Date.now() > deadline) throw new Error(`It never said ${String(pattern)}: ${this.out}`);
      await delay(10);
    }
  }

  /** Ends it whatever it takes, so that no test leaves a process behind. */
  async end(): Promise<Exit> {
    if (!this.running) return this.exited;
    this.kill('SIGTERM');
    const force = setTimeout(() => this.kill('SIGKILL'), 15_000);
    return this.exited.finally(() => clearTimeout(force));
  }
}

export async function isReady(url: string): Promise<boolean> {
  try {
    const answer = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(2000) });
    await answer.body?.cancel();
    return answer.ok;
  } catch {
    return false;
  }
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}

/** Of the Postgres that runs in a data directory; undefined when none does. */
export function postmasterPid(dataDirectory: string): number | undefined {
  try {
    return Number(readFileSync(join(dataDirectory, 'data/postmaster.pid'), 'utf8').split('\n')[0]);
  } catch {
    return undefined;
  }
}

/** How to connect to the Postgres that runs in a data directory. */
export function embeddedUrl(dataDirectory: string): string {
  const [password, port] = ['password', 'port'].map((name) => readFileSync(join(dataDirectory, name), 'utf8').trim());
  return `postgres://orderloom:${password}@127.0.0.1:${port}/orderloom`;
}

export function isAlive(pid: number): boolean {
  try {
    // a zombie has ended; it only waits for whoever reaps it
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    if (process.platform === 'linux') return false;
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
