import { EventEmitter, TaskCancelledError, type Event, type IDefaultPolicyContext, type IPolicy } from 'cockatiel';
import { complete, type CircuitBreakerOptions } from './breaker-options';
import {
  CircuitBreakerOpenError,
  type BreakerSnapshot,
  type BreakerState,
  type BreakerStateChange,
} from './breaker-report';
import { CallEvents, tell } from './call-events';
import { neverAborted } from './cancellation';

export type { BreakerClock, CircuitBreakerOptions } from './breaker-options';
export * from './breaker-report';

interface Probe {
  startedAt: number;
}

type Phase =
  | { state: 'CLOSED' }
  | { state: 'OPEN'; openedAt: number; isolated: boolean }
  | { state: 'HALF_OPEN'; openedAt: number; successes: number; probes: Set<Probe> };

type Outcome = 'success' | 'failure' | 'nothing';

/**
 * Stops calling a service that is down, and asks with care whether it is back (M. Nygard, "Release It!", 2nd ed.,
 * ch. 5 "Circuit Breaker"). A cockatiel policy: `wrap(retry, breaker, timeout)` works.
 *
 * Ours, because neither library has these semantics: cockatiel 3.2 and opossum close on the first success, and
 * cockatiel lets everyone who came while HALF_OPEN wait for the probe and then all call at once. Here
 *  - HALF_OPEN admits at most `successThreshold - successes` calls at a time and refuses the rest at once;
 *  - a call counts only in the phase in which it began: each change makes a new phase object, which is its generation;
 *  - state is a function of what happened and of the clock alone. There are no timers; lapsed time is
 *    settled, with exact moments, at every call, outcome and look, so it does not matter who looks when.
 *
 * It does not end a hung call (the timeout policy does), it only stops believing in it.
 */
export class CircuitBreaker implements IPolicy {
  declare readonly _altReturn: never;

  readonly name: string;
  private readonly options: Required<CircuitBreakerOptions>;
  private phase: Phase = { state: 'CLOSED' };
  private failures = 0;
  private calls = 0;
  private refusals = 0;

  private readonly events = new CallEvents();
  private readonly changes = new EventEmitter<BreakerStateChange>();
  private readonly refused = new EventEmitter<CircuitBreakerOpenError>();

  /** A call that was let through ended well, or badly (`handled`: whether it counted). Not told for refusals. */
  readonly onSuccess = this.events.onSuccess;
  readonly onFailure = this.events.onFailure;
  readonly onStateChange: Event<BreakerStateChange> = this.changes.addListener;
  readonly onRefusal: Event<CircuitBreakerOpenError> = this.refused.addListener;

  /** @throws RangeError for thresholds that are not positive integers or times that are not positive. */
  constructor(options: CircuitBreakerOptions) {
    this.options = complete(options);
    this.name = options.name;
  }

  get state(): BreakerState {
    return this.settle().state;
  }

  /**
   * Calls `fn`, or refuses at once.
   * @throws CircuitBreakerOpenError when refused; TaskCancelledError when `signal` was aborted before; else what `fn` throws.
   */
  async execute<T>(fn: (context: IDefaultPolicyContext) => PromiseLike<T> | T, signal = neverAborted): Promise<T> {
    if (signal.aborted) throw new TaskCancelledError();
    const phase = this.settle();
    const probe = this.admit(phase);
    let outcome: Outcome = 'nothing';
    try {
      const value = await this.events.observe(
        () => fn({ signal }),
        (error) => {
          // A caller who walked away says nothing about the service.
          const counted = !signal.aborted && this.options.shouldCount(error);
          if (counted) outcome = 'failure';
          return counted;
        },
      );
      outcome = 'success';
      return value;
    } finally {
      this.conclude(phase, probe, outcome);
    }
  }

  /** Holds it open until `reset()`; what is on its way may end, but counts no more. */
  isolate(): void {
    const phase = this.settle();
    if (phase.state === 'OPEN' && phase.isolated) return;
    const at = this.options.clock();
    this.enter({ state: 'OPEN', openedAt: phase.state === 'OPEN' ? phase.openedAt : at, isolated: true }, at);
  }

  /** CLOSED with a clean record, also from isolation; calls from before do not count any more. */
  reset(): void {
    this.settle();
    this.close(this.options.clock());
  }

  snapshot(): BreakerSnapshot {
    const phase = this.settle();
    const { name, failures, calls, refusals } = this;
    const common = { name, state: phase.state, failures, successes: 0, calls, refusals, isolated: false };
    if (phase.state === 'CLOSED') return common;
    const opened = { ...common, openedAt: phase.openedAt };
    if (phase.state === 'HALF_OPEN') return { ...opened, successes: phase.successes };
    return phase.isolated ? { ...opened, isolated: true } : { ...opened, retryAfterMs: this.retryAfterMs(phase) };
  }

  /** Lets time do what it has done since the last look. */
  private settle(): Phase {
    const now = this.options.clock();
    if (this.phase.state === 'HALF_OPEN') {
      const [oldest] = this.phase.probes;
      const givenUpAt = oldest && oldest.startedAt + this.options.halfOpenMaxMs;
      if (givenUpAt !== undefined && givenUpAt <= now) this.fail(givenUpAt);
    }
    const { phase } = this;
    if (phase.state === 'OPEN' && !phase.isolated) {
      const { openedAt } = phase;
      const halfOpenAt = openedAt + this.options.timeout;
      if (halfOpenAt <= now) this.enter({ state: 'HALF_OPEN', openedAt, successes: 0, probes: new Set() }, halfOpenAt);
    }
    return this.phase;
  }

  private admit(phase: Phase): Probe | undefined {
    if (phase.state === 'OPEN') this.refuse(this.retryAfterMs(phase), phase.isolated);
    if (phase.state === 'HALF_OPEN' && phase.probes.size >= this.options.successThreshold - phase.successes)
      this.refuse(this.retryAfterMs(phase), false);
    this.calls++;
    if (phase.state !== 'HALF_OPEN') return undefined;
    const probe = { startedAt: this.options.clock() };
    phase.probes.add(probe);
    return probe;
  }

  private refuse(retryAfterMs: number, isolated: boolean): never {
    this.refusals++;
    const error = new CircuitBreakerOpenError(this.name, retryAfterMs, isolated);
    tell(this.refused, error);
    throw error;
  }

  private conclude(began: Phase, probe: Probe | undefined, outcome: Outcome): void {
    if (this.settle() !== began) return;
    if (began.state === 'HALF_OPEN' && probe) began.probes.delete(probe);
    if (outcome === 'failure') return this.fail(this.options.clock());
    if (outcome === 'nothing') return;
    if (began.state === 'CLOSED') this.failures = 0;
    if (began.state === 'HALF_OPEN' && ++began.successes >= this.options.successThreshold)
      this.close(this.options.clock());
  }

  private fail(at: number): void {
    this.failures++;
    if (this.phase.state === 'CLOSED' && this.failures < this.options.failureThreshold) return;
    this.enter({ state: 'OPEN', openedAt: at, isolated: false }, at);
  }

  private close(at: number): void {
    this.failures = 0;
    this.enter({ state: 'CLOSED' }, at);
  }

  private enter(next: Phase, at: number): void {
    const from = this.phase.state;
    this.phase = next;
    const isolated = next.state === 'OPEN' && next.isolated;
    // CLOSED to CLOSED is a reset of the record only. OPEN to OPEN is told: it is an operator who isolates.
    if (from !== 'CLOSED' || next.state !== 'CLOSED')
      tell(this.changes, { name: this.name, from, to: next.state, isolated, at });
  }

  /** In HALF_OPEN the oldest probe has answered, or been given up, by then. */
  private retryAfterMs(phase: Exclude<Phase, { state: 'CLOSED' }>): number {
    const { timeout } = this.options;
    if (phase.state === 'OPEN' && phase.isolated) return timeout;
    const [oldest] = phase.state === 'HALF_OPEN' ? phase.probes : [];
    const until = oldest ? oldest.startedAt + this.options.halfOpenMaxMs : phase.openedAt + timeout;
    return Math.max(1, Math.ceil(until - this.options.clock()));
  }
}
