import {
  TaskCancelledError,
  TimeoutStrategy,
  timeout,
  type Event,
  type ICancellationContext,
  type IFailureEvent,
  type IPolicy,
  type ISuccessEvent,
  type TimeoutPolicy,
} from 'cockatiel';
import { allowMany, neverAborted } from './cancellation';

/** No answer within `timeoutMs`. The other side may still have acted: the outcome is unknown, not failed. */
export class CallTimeoutError extends TaskCancelledError {
  override readonly name = 'CallTimeoutError';

  /** `cause`: what the call threw when it was told to stop, if it was quicker than the timeout itself. */
  constructor(
    readonly policy: string,
    readonly timeoutMs: number,
    override readonly cause?: unknown,
  ) {
    super(`"${policy}" gave no answer within ${timeoutMs} ms`);
  }
}

/**
 * cockatiel's aggressive timeout: the call is told by its `signal` and not waited for (M. Nygard, "Release It!",
 * 2nd ed., ch. 5 "Timeouts"). What it adds is a true error: cockatiel also says "timed out" when it was the caller who
 * aborted, and lets the call's own `AbortError` win the race, so that nobody can tell a timeout from a cancellation.
 */
export class CallTimeout implements IPolicy<ICancellationContext> {
  declare readonly _altReturn: never;

  private readonly timer: TimeoutPolicy;
  readonly onSuccess: Event<ISuccessEvent>;
  readonly onFailure: Event<IFailureEvent>;

  /** @throws RangeError unless `timeoutMs` is positive. */
  constructor(
    readonly name: string,
    private readonly timeoutMs: number,
  ) {
    if (!(timeoutMs > 0)) throw new RangeError(`Timeout "${name}": timeoutMs is positive`);
    // Not aborted on return: what was returned may be a body that is still being read.
    this.timer = timeout(timeoutMs, { strategy: TimeoutStrategy.Aggressive, abortOnReturn: false });
    this.onSuccess = this.timer.onSuccess;
    this.onFailure = this.timer.onFailure;
  }

  /** @throws CallTimeoutError; TaskCancelledError when `signal` aborts; else what `fn` throws. */
  async execute<T>(fn: (context: ICancellationContext) => PromiseLike<T> | T, signal = neverAborted): Promise<T> {
    let inner: AbortSignal | undefined;
    try {
      return await this.timer.execute((context) => fn({ signal: (inner = context.signal) }), allowMany(signal));
    } catch (error) {
      // Not by cockatiel's isTaskCancelledError, which in 3.2.1 asks for a bulkhead's mark.
      if (signal.aborted) throw error instanceof TaskCancelledError ? new TaskCancelledError() : error;
      if (inner?.aborted)
        throw new CallTimeoutError(this.name, this.timeoutMs, error instanceof TaskCancelledError ? undefined : error);
      throw error;
    }
  }
}
