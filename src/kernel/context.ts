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

  /** For work that may have to run several times: each run is in this context, and is given the same ids. */
  repeatable(): <T>(work: () => T) => T {
    const given = new Map<string, string[]>();
    return (work) => runInContext(new Repetition(this, given), work);
  }
}

/** One run of repeatable work. It has counters of its own, as other code may ask its context for ids meanwhile. */
class Repetition extends ExecutionContext {
  private readonly asked = new Map<string, number>();

  constructor(
    private readonly context: ExecutionContext,
    /** Ids by the name under which the runs so far were given them. */
    private readonly given: Map<string, string[]>,
  ) {
    super(context.actor, context.seed, context.correlationId, context.causationId);
  }

  override get lastPosition(): number {
    return this.context.lastPosition;
  }

  override saw(position: number): void {
    this.context.saw(position);
  }

  override nextId(name: string): string {
    const n = this.asked.get(name) ?? 0;
    this.asked.set(name, n + 1);
    const ids = this.given.get(name) ?? [];
    this.given.set(name, ids);
    return (ids[n] ??= this.context.nextId(name));
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
