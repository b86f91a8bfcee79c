import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { Lines } from '../lines';
import { Backend } from './backend';
import { ReplicaError } from './replica-error';
import type { Listening } from './replica-process';

/** Before the first, second, … start of a replica that has failed, in ms. */
const backoffMs = [500, 1000, 2000, 4000, 8000, 16_000, 30_000] as const;

/** A replica that was ready for so long has recovered from earlier failures. */
const soundMs = 30_000;

/** An exit code, or the signal that has ended a process. */
type Ending = number | NodeJS.Signals;

/** A process of the application that is started again whenever it ends, until it is told to stop. */
export class Replica {
  private child: ChildProcess | undefined;
  private current: Backend | undefined;
  private ended: Promise<number> = Promise.resolve(0);
  private readonly stopping = new AbortController();
  private failures = 0;
  private wasReady = false;
  private readySince = Infinity;
  private resolveFirst!: () => void;
  private rejectFirst!: (error: Error) => void;
  /** Resolves when it is ready for the first time; rejects if it ends before that. */
  readonly ready = new Promise<void>((resolve, reject) => {
    this.resolveFirst = resolve;
    this.rejectFirst = reject;
  });

  constructor(
    readonly number: number,
    private readonly env: NodeJS.ProcessEnv,
    private readonly lines: Lines,
  ) {
    this.ready.catch(() => undefined);
  }

  /** Where it listens; undefined while it does not. */
  get backend(): Backend | undefined {
    return this.current;
  }

  start(): void {
    const child = fork(join(__dirname, 'replica-process.js'), {
      env: this.env,
      execArgv: ['--enable-source-maps'],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      // a process group of its own: Ctrl-C reaches the supervisor, which ends the replicas after the last response
      detached: true,
    });
    this.child = child;
    this.readySince = Infinity;
    const said = [this.passOn(child.stdout!, process.stdout), this.passOn(child.stderr!, process.stderr)];
    child.once('message', ({ port }: Listening) => {
      this.current = new Backend(port, (isReady) => this.changed(child.pid, port, isReady));
    });
    // not 'close', which does not come after a channel that this side has closed
    const exited = new Promise<Ending>((resolve) => {
      child.once('exit', (code, signal) => resolve(signal ?? code ?? 1));
      child.once('error', (error) => {
        this.lines.say(`Replica ${this.number}: ${error.message}`, 'error');
        // it could not be started, so it does not exit either
        if (child.pid === undefined) resolve(1);
      });
    });
    this.ended = exited.then(async (how) => {
      const readyMs = performance.now() - this.readySince;
      this.current?.close();
      this.current = undefined;
      await Promise.all(said);
      if (!this.stopping.signal.aborted) this.restart(child.pid, how, readyMs);
      return typeof how === 'number' ? how : 1;
    });
  }

  /** Lets it finish what is in flight. @returns its exit code */
  async stop(): Promise<number> {
    this.stopping.abort();
    if (this.child?.exitCode !== null || this.child.signalCode !== null) return 0;
    // the end of the channel tells it, as does the end of this process
    if (this.child.connected) this.child.disconnect();
    return this.ended;
  }

  private changed(pid: number | undefined, port: number, isReady: boolean): void {
    if (this.stopping.signal.aborted) return;
    if (!isReady) return this.lines.say(`Replica ${this.number} is not ready: no requests go there`);
    this.lines.say(`Replica ${this.number} is ready: process ${pid}, port ${port}`);
    this.readySince = Math.min(this.readySince, performance.now());
    this.wasReady = true;
    this.resolveFirst();
  }

  /** At once after an end in order, such as by SIGTERM, and after a pause that grows with each failure otherwise. */
  private restart(pid: number | undefined, how: Ending, readyMs: number): void {
    const ended = typeof how === 'number' ? `ended with exit code ${how}` : `was ended by ${how}`;
    if (!this.wasReady)
      return this.rejectFirst(new ReplicaError(`Replica ${this.number} ${ended} before it was ready.`));
    if (how === 0) {
      this.lines.say(`Replica ${this.number} (process ${pid}) ${ended}: starting it again`);
      return this.start();
    }
    if (readyMs > soundMs) this.failures = 0;
    const pauseMs = backoffMs[this.failures++] ?? backoffMs.at(-1)!;
    const again = `starting it again in ${pauseMs / 1000} s`;
    this.lines.say(`Replica ${this.number} (process ${pid}) ${ended}: ${again}`, 'error');
    delay(pauseMs, undefined, { signal: this.stopping.signal }).then(
      () => this.start(),
      () => undefined,
    );
  }

  /** Line by line, marked with its number: as a field of JSON, or in front. Resolves when there is no more. */
  private passOn(from: NodeJS.ReadableStream, to: NodeJS.WritableStream): Promise<unknown> {
    const lines = createInterface({ input: from }).on('line', (line) => {
      to.write(line.startsWith('{"') ? `{"replica":${this.number},${line.slice(1)}\n` : `[${this.number}] ${line}\n`);
    });
    return once(lines, 'close');
  }
}
