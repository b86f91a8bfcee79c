import { BrokenCircuitError } from 'cockatiel';

/** What a breaker tells operators, gauges and the callers it refuses. */
export type BreakerState = 'CLOSED' | 'OPEN' | 'HALF_OPEN';

export interface BreakerSnapshot {
  name: string;
  state: BreakerState;
  /** Counted failures since the last success or, while not CLOSED, since it was last well. */
  failures: number;
  /** Successes of the current HALF_OPEN. */
  successes: number;
  /** Calls let through, and calls refused, since the process began; never set back. */
  calls: number;
  refusals: number;
  /** Last opening, ms since the epoch; absent when CLOSED. */
  openedAt?: number;
  /** ms until OPEN becomes HALF_OPEN; absent when not OPEN or when isolated, which no time ends. */
  retryAfterMs?: number;
  /** Held open by an operator until `reset()`. */
  isolated: boolean;
}

export interface BreakerStateChange {
  name: string;
  from: BreakerState;
  to: BreakerState;
  isolated: boolean;
  /** ms since the epoch; may be earlier than the moment of telling, for time is judged when someone calls or looks. */
  at: number;
}

/** The call was not made. Is a cockatiel `BrokenCircuitError` too, so `isBrokenCircuitError` knows it. */
export class CircuitBreakerOpenError extends BrokenCircuitError {
  override readonly name = 'CircuitBreakerOpenError';

  /** `retryAfterMs`: when asking again is worth it, at least 1; for an isolated breaker one `timeout`, a guess. */
  constructor(
    readonly breaker: string,
    readonly retryAfterMs: number,
    readonly isolated = false,
  ) {
    super(`Circuit breaker "${breaker}" is ${isolated ? 'isolated' : 'open'}; retry after ${retryAfterMs} ms`);
  }
}
