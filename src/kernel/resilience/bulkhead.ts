import { BulkheadRejectedError, TaskCancelledError, type IDefaultPolicyContext, type IPolicy } from 'cockatiel';
import { CallEvents } from './call-events';
import { allowMany, neverAborted } from './cancellation';

/** No slot and no place in the queue: this process is saturated, the call was not made. Try later, or elsewhere. */
export class BulkheadFullError extends BulkheadRejectedError {
  override readonly name = 'BulkheadFullError';

  constructor(
    readonly policy: string,
    readonly maxConcurrent: number,
    readonly maxQueued: number,
  ) {
    super(maxConcurrent, maxQueued);
    this.message = `"${policy}" is full: ${maxConcurrent} calls running, ${maxQueued} waiting`;
  }
}

/**
 * At most `maxConcurrent` calls at a time and `maxQueued` waiting, first come first served, so that one slow
 * target cannot take every socket of the process (M. Nygard, "Release It!", 2nd ed., ch. 5 "Bulkheads").
 *
 * A cockatiel policy, but not cockatiel's: when the next one in its queue has been aborted, 3.2.1 drops that one and
 * wakes nobody, so whoever stands behind may wait for ever; and a newcomer can take the slot of the one it is waking.
 * Here a slot is handed over directly, and who walks away leaves the queue at once.
 */
export class Bulkhead implements IPolicy {
  declare readonly _altReturn: never;

  private running = 0;
  private readonly waiting: Array<() => void> = [];
  private readonly events = new CallEvents();

  readonly onSuccess = this.events.onSuccess;
  readonly onFailure = this.events.onFailure;

  /** @throws RangeError unless `maxConcurrent` ≥ 1 and `maxQueued` ≥ 0, both integers. */
  constructor(
    readonly name: string,
    private readonly maxConcurrent: number,
    private readonly maxQueued: number,
  ) {
    if (!Number.isInteger(maxConcurrent) || !Number.isInteger(maxQueued) || maxConcurrent < 1 || maxQueued < 0)
      throw new RangeError(`Bulkhead "${name}": maxConcurrent is a positive integer, maxQueued zero or more`);
  }

  /** @throws BulkheadFullError; TaskCancelledError when `signal` aborts before the call has begun; else what `fn` throws. */
  async execute<T>(fn: (context: IDefaultPolicyContext) => PromiseLike<T> | T, signal = neverAborted): Promise<T> {
    if (signal.aborted) throw new TaskCancelledError();
    if (this.running < this.maxConcurrent) this.running++;
    else await this.turn(signal);
    try {
      return await this.events.observe(
        () => fn({ signal }),
        () => false,
      );
    } finally {
      this.leave();
    }
  }

  /** Resolves when a finished call has handed its slot over. */
  private turn(signal: AbortSignal): Promise<void> {
    if (this.waiting.length >= this.maxQueued)
      throw new BulkheadFullError(this.name, this.maxConcurrent, this.maxQueued);
    return new Promise((resolve, reject) => {
      const begin = () => {
        signal.removeEventListener('abort', giveUp);
        resolve();
      };
      const giveUp = () => {
        this.waiting.splice(this.waiting.indexOf(begin), 1);
        reject(new TaskCancelledError());
      };
      allowMany(signal).addEventListener('abort', giveUp, { once: true });
      this.waiting.push(begin);
    });
  }

  private leave(): void {
    const next = this.waiting.shift();
    if (next) next();
    else this.running--;
  }
}
