import { EventEmitter, type IFailureEvent, type ISuccessEvent } from 'cockatiel';

/**
 * The two events that cockatiel's `IPolicy` asks of every policy. Its own implementation is not exported, and
 * emits inside the `try` around the call: there a listener that throws turns a payment that succeeded into
 * one that failed, and so into one that is retried.
 */
export class CallEvents {
  private readonly success = new EventEmitter<ISuccessEvent>();
  private readonly failure = new EventEmitter<IFailureEvent>();

  readonly onSuccess = this.success.addListener;
  readonly onFailure = this.failure.addListener;

  /** Runs `call` and tells its outcome and duration (ms). `handled` is asked whether the policy counts the error. */
  async observe<T>(call: () => PromiseLike<T> | T, handled: (error: unknown) => boolean): Promise<T> {
    const began = performance.now();
    let value: T;
    try {
      value = await call();
    } catch (error) {
      const event = { duration: performance.now() - began, handled: handled(error), reason: { error: error as Error } };
      tell(this.failure, event);
      throw error;
    }
    tell(this.success, { duration: performance.now() - began });
    return value;
  }
}

/** Emits, and keeps a listener's fault (a gauge with a bug) away from the call that happened to cause the event. */
export function tell<T>(emitter: EventEmitter<T>, event: T): void {
  try {
    emitter.emit(event);
  } catch (fault) {
    process.emitWarning(fault instanceof Error ? fault : String(fault));
  }
}
