import { isDeepStrictEqual } from 'node:util';
import { Injectable, Logger, Optional } from '@nestjs/common';
import {
  EventEmitter,
  ExponentialBackoff,
  fullJitterGenerator,
  handleWhen,
  isBulkheadRejectedError,
  retry,
  wrap,
  type Event,
  type IPolicy,
  type IRetryContext,
} from 'cockatiel';
import { Bulkhead } from './bulkhead';
import { SpanKind, traced } from '../tracing/tracing';
import { tell } from './call-events';
import { CallTimeout } from './call-timeout';
import {
  CircuitBreaker,
  CircuitBreakerOpenError,
  type BreakerClock,
  type BreakerSnapshot,
  type BreakerStateChange,
} from './circuit-breaker';

export interface PolicyOptions {
  /** ms that one attempt may take, without its wait in the bulkhead's queue; 5000. */
  timeoutMs?: number;
  /** Calls at a time, 20, and how many may wait for a place, 40; more are refused. */
  maxConcurrent?: number;
  maxQueued?: number;
  /** Attempts after the first, 2. So a call must be safe to repeat: idempotent, or with an idempotency key. */
  retries?: number;
  /** Before the n-th retry it waits a random time in [0, `backoffMs`·2ⁿ⁻¹), never above 30 s; 100 ms. */
  backoffMs?: number;
  /**
   * 5 failures open it, 2 successes close it, 30 000 ms between. A probe is given up after `halfOpenMaxMs`, by default
   * time enough to wait in a full queue and then to time out, and no less than `timeout`.
   */
  breaker?: { failureThreshold?: number; successThreshold?: number; timeout?: number; halfOpenMaxMs?: number };
  /** Does this error speak of an outage? All do by default; never asked about this process's own full bulkhead. */
  shouldCount?: (error: unknown) => boolean;
  /** Is another attempt worth it? As `shouldCount` by default; never asked about an open breaker or a full bulkhead. */
  shouldRetry?: (error: unknown) => boolean;
}

/** `execute(({ signal, attempt }) => …)`: `signal` aborts at the timeout or with the caller, `attempt` begins at 0. */
export type CallPolicy = IPolicy<IRetryContext>;

/**
 * One named policy for each target outside of this process, composed as `retry(breaker(bulkhead(timeout(call))))`:
 * each attempt passes the breaker, so that it counts attempts and a retry that meets it open ends there. A fallback
 * goes around it: `wrap(fallback(handleAll, value), resilience.policy(name))`. Within a call, `currentTraceparent()` is the
 * header for the other side.
 */
@Injectable()
export class Resilience {
  private readonly logger = new Logger(Resilience.name);
  private readonly targets = new Map<string, { options: object; policy: CallPolicy; breaker: CircuitBreaker }>();
  private readonly changes = new EventEmitter<BreakerStateChange>();

  /** The state changes of all breakers. */
  readonly onStateChange: Event<BreakerStateChange> = this.changes.addListener;

  constructor(@Optional() private readonly clock?: BreakerClock) {}

  /**
   * The policy of that name; all who ask share its breaker and its bulkhead.
   * @throws Error when the name is taken with other options. Predicates are compared by identity: keep them in a
   * constant. RangeError when an option makes no sense.
   */
  policy(name: string, options: PolicyOptions = {}): CallPolicy {
    const wanted = complete(options);
    const known = this.targets.get(name);
    if (known && isDeepStrictEqual(known.options, wanted)) return known.policy;
    if (known) throw new Error(`Policy "${name}" exists with other options`);

    const breaker = new CircuitBreaker({
      name,
      ...wanted.breaker,
      clock: this.clock,
      shouldCount: (error) => !isBulkheadRejectedError(error) && wanted.shouldCount(error),
    });
    breaker.onStateChange((change) => this.announce(change));
    const attempt = wrap(
      breaker,
      new Bulkhead(name, wanted.maxConcurrent, wanted.maxQueued),
      new CallTimeout(name, wanted.timeoutMs),
    );
    const policy = tracedAttempts(name, retrying(name, wanted), attempt);
    this.targets.set(name, { options: wanted, policy, breaker });
    return policy;
  }

  /** For operators, by name. */
  breakers(): BreakerSnapshot[] {
    return [...this.targets.values()]
      .map(({ breaker }) => breaker.snapshot())
      .sort((a, b) => a.name.localeCompare(b.name));
  }

  /** To isolate or reset; undefined when nobody has asked for that policy. */
  breaker(name: string): CircuitBreaker | undefined {
    return this.targets.get(name)?.breaker;
  }

  private announce(change: BreakerStateChange): void {
    const { name, from, to, isolated } = change;
    const line = `Circuit breaker "${name}": ${from} → ${to}${isolated ? ', isolated' : ''}`;
    if (to === 'OPEN') this.logger.warn(line);
    else this.logger.log(line);
    tell(this.changes, change);
  }
}

type Complete = ReturnType<typeof complete>;

function complete(options: PolicyOptions) {
  const { breaker = {}, shouldCount = everything } = options;
  const timeoutMs = options.timeoutMs ?? 5_000;
  const maxConcurrent = options.maxConcurrent ?? 20;
  const maxQueued = options.maxQueued ?? 40;
  const timeout = breaker.timeout ?? 30_000;
  const slowestProbeMs = (Math.ceil(maxQueued / maxConcurrent) + 1) * timeoutMs;
  return {
    timeoutMs,
    maxConcurrent,
    maxQueued,
    retries: options.retries ?? 2,
    backoffMs: options.backoffMs ?? 100,
    breaker: {
      failureThreshold: breaker.failureThreshold ?? 5,
      successThreshold: breaker.successThreshold ?? 2,
      timeout,
      halfOpenMaxMs: breaker.halfOpenMaxMs ?? Math.max(timeout, slowestProbeMs),
    },
    shouldCount,
    shouldRetry: options.shouldRetry ?? shouldCount,
  };
}

const everything = () => true;

/** As cockatiel's `wrap(retries, attempt)`, with a span for each attempt, also for one that the breaker refuses. */
function tracedAttempts(name: string, retries: CallPolicy, attempt: IPolicy): CallPolicy {
  const { onSuccess, onFailure } = retries;
  return {
    _altReturn: undefined as never,
    onSuccess,
    onFailure,
    execute: (call, signal) =>
      retries.execute((context) => {
        const attributes = { 'orderloom.target': name, 'orderloom.attempt': context.attempt + 1 };
        return traced(
          `call ${name}`,
          () => ({ kind: SpanKind.CLIENT, attributes }),
          () => attempt.execute((inner) => call({ ...context, ...inner }), context.signal),
        );
      }, signal),
  };
}

function retrying(name: string, { retries, backoffMs, shouldRetry }: Complete) {
  if (!Number.isInteger(retries) || retries < 0 || !(backoffMs >= 0))
    throw new RangeError(`Policy "${name}": retries is an integer and, like backoffMs, not negative`);
  // An open breaker and a full bulkhead are a plea for fewer calls; asking again at once is how outages grow.
  const worthIt = (error: unknown) =>
    !(error instanceof CircuitBreakerOpenError) && !isBulkheadRejectedError(error) && shouldRetry(error);
  const backoff = new ExponentialBackoff({ generator: fullJitterGenerator, initialDelay: backoffMs, maxDelay: 30_000 });
  return retry(handleWhen(worthIt), { maxAttempts: retries, backoff });
}
