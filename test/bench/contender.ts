import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';

/** What a contender's module exports: it opens a database, and offers what can be asked of it. */
export interface ContenderModule {
  open(url: string): Promise<Record<string, (...args: never[]) => unknown>>;
}

export type Ask = { id: number; method: string; args: unknown[] } | { id: number; open: string; module: string };
export type Reply = { id: number; result?: unknown; error?: string };

/**
 * One contender in a process of its own, so that none runs on the heap, the compiled code or the parsers (act-pg
 * replaces those of `pg` for the whole process) of another. Idle between its rounds.
 */
export class Contender {
  private readonly child: ChildProcess;
  private readonly open = new Map<number, { resolve(result: never): void; reject(error: Error): void }>();
  private asked = 0;

  private constructor(readonly name: string) {
    const profile = process.env['BENCH_CPU_PROF'];
    this.child = fork(join(__dirname, 'run.js'), [name], {
      // some packages read the package.json of the working directory, and print what they please
      cwd: __dirname,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      execArgv: profile ? ['--cpu-prof', `--cpu-prof-dir=${profile}`, `--cpu-prof-name=${name}.cpuprofile`] : [],
    });
    this.child.on('message', ({ id, result, error }: Reply) => {
      const waiting = this.open.get(id);
      this.open.delete(id);
      if (error === undefined) waiting?.resolve(result as never);
      else waiting?.reject(new Error(`${this.name}: ${error}`));
    });
    this.child.on('exit', (code, signal) => {
      const error = new Error(`${this.name} ended with ${code ?? signal}`);
      for (const waiting of this.open.values()) waiting.reject(error);
      this.open.clear();
    });
  }

  /** @param module path from this folder */
  static async start(name: string, module: string, url: string): Promise<Contender> {
    const contender = new Contender(name);
    try {
      await contender.send({ open: url, module });
    } catch (error) {
      await contender.end();
      throw error;
    }
    return contender;
  }

  ask<T>(method: string, ...args: unknown[]): Promise<T> {
    return this.send({ method, args });
  }

  async end(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exited = new Promise((resolve) => this.child.once('exit', resolve));
    await this.ask('close').catch(() => undefined);
    if (this.child.connected) this.child.disconnect();
    const force = setTimeout(() => this.child.kill('SIGKILL'), 10_000);
    await exited;
    clearTimeout(force);
  }

  private send<T>(message: { method: string; args: unknown[] } | { open: string; module: string }): Promise<T> {
    const id = ++this.asked;
    return new Promise<T>((resolve, reject) => {
      this.open.set(id, { resolve, reject });
      this.child.send({ id, ...message });
    });
  }
}
