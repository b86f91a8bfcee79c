import { AsyncLocalStorage } from 'node:async_hooks';
import { deriveId, newId } from './ids';

/** On whose behalf and because of what the current code runs: one HTTP request, or one delivery of one event. */
export class ExecutionContext {
  private position = 0;
  private readonly counters = new Map<string, number>();

  constructor(
    /** `user:<id>`, `api-key:<id>` or `system:<part>`; recorded with every event. */
    public actor: string,
    /** What all ids made here derive from. A repeat of the same request or delivery has the same seed. */
    public seed: string,
    /** Shared by everything that follows from one cause. */
    readonly correlationId: string = seed,
    /** The event that led here; none for a request from outside. */
    readonly causationId?: string,
  ) {}

  /** Highest log position that this context wrote or read; what its caller must find in the views. */
  get lastPosition(): number {
    return this.position;
  }

  saw(position: number): void {
    this.position = Math.max(this.position, position);
  }

  /** The n-th id asked for under a name: equal on every repeat of this context, different within it. */
  nextId(name: string): string {
    const n = (this.counters.get(name) ?? 0) + 1;
    this.counters.set(name, n);
    return deriveId(this.seed, `${name}#${n}`);
  }
}

const storage = new AsyncLocalStorage<ExecutionContext>();

export function runInContext<T>(context: ExecutionContext, work: () => T): T {
  return storage.run(context, work);
}

/** The context of the running code; outside of any (a start-up task, a test) a fresh one, with random ids. */
export function currentContext(): ExecutionContext {
  return storage.getStore() ?? new ExecutionContext('system', newId());
}
