import { AsyncLocalStorage } from 'node:async_hooks';
import { deriveId, newId } from './ids';

/** What a command is known by. */
export interface CommandName {
  readonly id: string;
  /** What is done, e.g. the type of the decider's command; undefined when the types of its events say so. */
  readonly what?: string;
  /** The id that the release before gave it: what that one carried out is found under it. */
  readonly formerId?: string;
}

/** On whose behalf and because of what the current code runs: one HTTP request, or one delivery of one event. */
export class ExecutionContext {
  private position = 0;
  private committed = false;
  /** Up to which log position its caller has waited for the views. */
  awaitedPosition = 0;
  private readonly counters = new Map<string, number>();
  /** Hash of what the client asked for, if it may ask again: the same seed with another one is a mistake of the client. */
  request: string | undefined;
  /** The hash that the release before made of it, which its events may have. */
  formerRequest: string | undefined;
  /** What it was called from, if that is traced: a `traceparent` of W3C Trace Context. Its trace is `correlationId`. */
  traceparent: string | undefined;

  constructor(
    /** `user:<id>`, `api-key:<id>` or `system:<part>`; recorded with every event. */
    public actor: string,
    /** What all ids made here derive from. A repeat of the same request or delivery has the same seed. */
    public seed: string,
    /** Shared by everything that follows from one cause. */
    readonly correlationId: string = seed,
    /** The event that led here; none for a request from outside. */
    readonly causationId?: string,
    /** True when it may have run before: a dead letter that is replayed, an event that another worker had in hand. */
    readonly mayHaveRun = false,
  ) {}

  /** Highest log position that this context wrote or read; what its caller must find in the views. */
  get lastPosition(): number {
    return this.position;
  }

  saw(position: number): void {
    this.position = Math.max(this.position, position);
  }

  /** True once this context has committed something, or has found that an earlier run of it had. */
  get hasCommitted(): boolean {
    return this.committed;
  }

  commits(): void {
    this.committed = true;
  }

  /**
   * The n-th command that does `what` to the aggregate. Independent of what else is done, and in which order: code that
   * was changed in between finds what it did before.
   */
  nextCommand(aggregateId: string, what: string): Required<CommandName> {
    return { id: this.nextId(`${aggregateId} ${what}`), what, formerId: this.nextId(aggregateId) };
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
    super(context.actor, context.seed, context.correlationId, context.causationId, context.mayHaveRun);
    this.request = context.request;
    this.formerRequest = context.formerRequest;
    this.traceparent = context.traceparent;
  }

  override get hasCommitted(): boolean {
    return this.context.hasCommitted;
  }

  override commits(): void {
    this.context.commits();
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
