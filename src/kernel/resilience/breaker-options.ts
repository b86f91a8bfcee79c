/** Now in ms since the epoch; must not run backwards, or an open breaker stays open longer. */
export type BreakerClock = () => number;

export interface CircuitBreakerOptions {
  name: string;
  /** Counted failures in a row that open it. */
  failureThreshold: number;
  /** Successes in HALF_OPEN that close it. */
  successThreshold: number;
  /** ms OPEN before HALF_OPEN. */
  timeout: number;
  /** ms after which a probe without an answer counts as failed; `timeout` if not given. */
  halfOpenMaxMs?: number;
  /**
   * Is this error a sign of an outage? A declined card is not. What is not counted is evidence of nothing: it
   * neither opens nor closes, and ends no run of failures (resilience4j's `ignoreExceptions`). By default all count.
   */
  shouldCount?: (error: unknown) => boolean;
  clock?: BreakerClock;
}

/** Epoch-like but monotonic: a step of the wall clock (NTP, suspend) must not hold a breaker open for an hour. */
const monotonic: BreakerClock = () => Math.floor(performance.timeOrigin + performance.now());

/** @throws RangeError for thresholds that are not positive integers or times that are not positive. */
export function complete(options: CircuitBreakerOptions): Required<CircuitBreakerOptions> {
  const { name, failureThreshold, successThreshold, timeout } = options;
  const halfOpenMaxMs = options.halfOpenMaxMs ?? timeout;
  if (![failureThreshold, successThreshold].every((n) => Number.isInteger(n) && n > 0))
    throw new RangeError(`Circuit breaker "${name}": thresholds are positive integers`);
  if (!(timeout > 0 && halfOpenMaxMs > 0)) throw new RangeError(`Circuit breaker "${name}": times are positive ms`);
  return {
    name,
    failureThreshold,
    successThreshold,
    timeout,
    halfOpenMaxMs,
    shouldCount: options.shouldCount ?? (() => true),
    clock: options.clock ?? monotonic,
  };
}
