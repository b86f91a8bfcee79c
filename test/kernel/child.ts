import { type ChildProcess, fork } from 'node:child_process';

/** A replacement in the source that a process loads, see test/support/typescript.js. */
export interface Edit {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface Violation {
  readonly invariant: string;
  readonly detail: string;
}

/** What a process of a scenario says about its orders; whatever else it says is between the two. */
export type Done = { readonly done: string; readonly violations?: readonly Violation[] };

/** A process of its own that runs the kernel, seen from the test. */
export class Child<Message extends object = never> {
  private readonly process: ChildProcess;
  private readonly waiting = new Map<string, () => void>();
  private said = '';
  readonly violations: Violation[] = [];

  constructor(
    script: string,
    argument: object,
    edits: readonly Edit[] = [],
    private readonly onMessage: (message: Message) => void = () => undefined,
  ) {
    this.process = fork(script, [JSON.stringify(argument)], {
      env: { ...process.env, PLANTED: JSON.stringify(edits) },
      execArgv: [],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    for (const stream of [this.process.stdout!, this.process.stderr!]) {
      stream.on('data', (text: Buffer) => (this.said = (this.said + text.toString()).slice(-4000)));
    }
    this.process.on('message', (message: Done | Message) => {
      if (!('done' in message)) return this.onMessage(message);
      this.violations.push(...(message.violations ?? []));
      this.finish(message.done);
    });
    this.process.once('exit', (code, signal) => {
      if (this.waiting.size === 0) return;
      const detail = `exit ${code ?? signal}: ${this.said}`;
      this.violations.push({ invariant: 'a process outlives its sessions', detail });
      for (const order of [...this.waiting.keys()]) this.finish(order);
    });
  }

  get pid(): number {
    return this.process.pid!;
  }

  /** Resolves when it has said that it is done. */
  tell(order: string): Promise<void> {
    if (!this.process.connected) return Promise.resolve();
    const done = this.done(order);
    this.process.send(order);
    return done;
  }

  done(order: string): Promise<void> {
    return new Promise((resolve) => this.waiting.set(order, resolve));
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.process.kill(signal);
  }

  private finish(order: string): void {
    this.waiting.get(order)?.();
    this.waiting.delete(order);
  }
}

/** The other side: carries out orders until it is told to close. */
export function serve(orders: Readonly<Record<string, () => unknown>>, violations: readonly Violation[] = []): void {
  process.on('message', (order: string) => {
    const carriedOut = Promise.resolve().then(() => orders[order]!());
    void carriedOut
      .then(
        () => (order === 'close' ? violations : []),
        (error: Error) => [{ invariant: 'the test does what it says', detail: error.stack ?? error.message }],
      )
      .then((found) => {
        process.send!({ done: order, violations: found } satisfies Done);
        if (order === 'close') process.disconnect();
      });
  });
  process.send!({ done: 'start' } satisfies Done);
}
