import { setTimeout as delay } from 'node:timers/promises';

/** Something was still in flight at the end of the time limit; the message says what. */
export class ShutdownError extends Error {
  override readonly name = 'ShutdownError';
}

interface Step {
  /** What the step waits for, as the subject of "had not finished". */
  readonly what: () => string;
  readonly close: () => Promise<unknown>;
}

/** Closes what the process has opened, in the reverse order, once, and within a time limit. */
export class Shutdown {
  private readonly steps: Step[] = [];
  private readonly announcements: (() => void)[] = [];
  private readonly patience = new AbortController();
  private running: Promise<void> | undefined;

  /**
   * @param limitSeconds for all of it together
   * @param delaySeconds between the announcements and the first step, on top of the limit
   */
  constructor(
    private readonly limitSeconds: number,
    private readonly delaySeconds = 0,
  ) {}

  get begun(): boolean {
    return this.running !== undefined;
  }

  /** @param what is asked when the time limit is over */
  add(what: () => string, close: () => Promise<unknown>): void {
    this.steps.push({ what, close });
  }

  /** Tells others, such as a load balancer, at the very beginning; they have the delay to react. */
  announce(how: () => void): void {
    this.announcements.push(how);
  }

  /** Leaves out the delay, or what remains of it: nobody is left who needs it. */
  hurry(): void {
    this.patience.abort();
  }

  /** @throws ShutdownError when the time limit is over, and what a step throws */
  begin(): Promise<void> {
    return (this.running ??= this.run());
  }

  private async run(): Promise<void> {
    for (const announce of this.announcements) announce();
    if (this.announcements.length > 0 && this.delaySeconds > 0) {
      await delay(this.delaySeconds * 1000, undefined, { signal: this.patience.signal }).catch(() => undefined);
    }
    const limit = new AbortController();
    const over = delay(this.limitSeconds * 1000, 'over', { signal: limit.signal }).catch(() => undefined);
    for (let step = this.steps.pop(); step; step = this.steps.pop()) {
      if ((await Promise.race([step.close(), over])) !== 'over') continue;
      throw new ShutdownError(
        `Shutdown: ${step.what()} had not finished after ${this.limitSeconds} s, which SHUTDOWN_TIMEOUT sets.`,
      );
    }
    limit.abort();
  }
}
