import { getEventListeners, getMaxListeners } from 'node:events';
import { Logger } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { fallback, handleAll, TaskCancelledError, wrap } from 'cockatiel';
import { BulkheadFullError } from '../../../src/kernel/resilience/bulkhead';
import { CallTimeoutError } from '../../../src/kernel/resilience/call-timeout';
import { CircuitBreakerOpenError } from '../../../src/kernel/resilience/circuit-breaker';
import { Resilience, type CallPolicy, type PolicyOptions } from '../../../src/kernel/resilience/policies';
import { ResilienceModule } from '../../../src/kernel/resilience/resilience.module';

const declined = new Error('declined');
const down = new Error('down');
const hang = () => new Promise<never>(() => undefined);

/** A policy under fake time; `outcome` lets time pass until the call has ended. */
function given(options: PolicyOptions = {}) {
  const resilience = new Resilience(() => Date.now());
  const policy = resilience.policy('provider', options);
  const outcome = async (fn: Parameters<CallPolicy['execute']>[0], signal?: AbortSignal) => {
    const ended = policy.execute(fn, signal).catch((error: unknown) => error);
    await jest.advanceTimersByTimeAsync(600_000);
    return ended;
  };
  const breaker = () => resilience.breakers()[0];
  return { resilience, policy, outcome, breaker };
}

beforeEach(() => {
  jest.useFakeTimers();
  Logger.overrideLogger(false);
});

afterEach(() => {
  jest.useRealTimers();
  jest.restoreAllMocks();
});

describe('Retry', () => {
  it('tries again what is worth it, up to `retries` times', async () => {
    const { outcome } = given({ retries: 3 });
    const attempts: number[] = [];
    const result = await outcome(({ attempt }) => {
      attempts.push(attempt);
      if (attempt < 3) throw down;
      return 'ok';
    });
    expect(result).toBe('ok');
    expect(attempts).toEqual([0, 1, 2, 3]);

    const always = jest.fn().mockRejectedValue(down);
    expect(await outcome(always)).toBe(down);
    expect(always).toHaveBeenCalledTimes(4);
  });

  it('does not try again what shouldRetry denies, or, without it, what shouldCount denies', async () => {
    for (const option of ['shouldRetry', 'shouldCount'] as const) {
      const { outcome } = given({ retries: 3, [option]: (error: unknown) => error !== declined });
      const fn = jest.fn().mockRejectedValue(declined);
      expect(await outcome(fn)).toBe(declined);
      expect(fn).toHaveBeenCalledTimes(1);
    }
  });

  it('backs off exponentially with full jitter, never above 30 s', async () => {
    const waits = async (random: number) => {
      jest.spyOn(Math, 'random').mockReturnValue(random);
      const { outcome } = given({ retries: 5, backoffMs: 4_000, breaker: { failureThreshold: 100 } });
      const at: number[] = [];
      await outcome(() => {
        at.push(Date.now());
        throw down;
      });
      return at.slice(1).map((t, i) => t - (at[i] ?? 0));
    };
    expect(await waits(0.5)).toEqual([2_000, 4_000, 8_000, 15_000, 15_000]);
    expect((await waits(0)).every((ms) => ms <= 1)).toBe(true);
  });

  it('ends at a breaker that opens in between, with its error, and calls no more', async () => {
    const { outcome, breaker } = given({
      retries: 50,
      backoffMs: 1,
      breaker: { failureThreshold: 3, timeout: 10_000 },
    });
    const fn = jest.fn().mockRejectedValue(down);
    expect(await outcome(fn)).toBeInstanceOf(CircuitBreakerOpenError);
    expect(fn).toHaveBeenCalledTimes(3);
    expect(breaker()).toMatchObject({ calls: 3, refusals: 1 });
  });

  it('does not hammer an open breaker: a call costs one refusal', async () => {
    const { resilience, outcome, breaker } = given({ retries: 10, shouldRetry: () => true });
    resilience.breaker('provider')?.isolate();
    const fn = jest.fn();
    expect(await outcome(fn)).toMatchObject({ breaker: 'provider', isolated: true });
    expect(fn).not.toHaveBeenCalled();
    expect(breaker()).toMatchObject({ refusals: 1 });
  });
});

describe('Timeout', () => {
  it('ends a call that hangs, by an error that names the policy, and tells the call', async () => {
    const { outcome, breaker } = given({ timeoutMs: 200, retries: 0 });
    let told: AbortSignal | undefined;
    const error = await outcome(({ signal }) => ((told = signal), hang()));
    expect(error).toBeInstanceOf(CallTimeoutError);
    expect(error).toMatchObject({ name: 'CallTimeoutError', policy: 'provider', timeoutMs: 200 });
    expect((error as Error).message).toBe('"provider" gave no answer within 200 ms');
    expect(error).toBeInstanceOf(TaskCancelledError);
    expect(told?.aborted).toBe(true);
    expect(breaker()).toMatchObject({ failures: 1 });
  });

  it('is for each attempt', async () => {
    const { outcome } = given({ timeoutMs: 200, retries: 1 });
    expect(await outcome(({ attempt }) => (attempt === 0 ? hang() : 'ok'))).toBe('ok');
  });

  it('stays a timeout when the call answers the signal with an error of its own', async () => {
    const { outcome } = given({ timeoutMs: 200, retries: 0 });
    const error = await outcome(
      ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    );
    expect(error).toBeInstanceOf(CallTimeoutError);
    expect((error as Error).cause).toMatchObject({ name: 'AbortError' });
  });

  it('is not what a caller gets who walks away, and nobody is blamed or asked again', async () => {
    const { outcome, breaker } = given({ timeoutMs: 200, retries: 5 });
    const caller = new AbortController();
    setTimeout(() => caller.abort(), 100);
    const fn = jest.fn(hang);
    const error = await outcome(fn, caller.signal);
    expect(error).toBeInstanceOf(TaskCancelledError);
    expect(error).not.toBeInstanceOf(CallTimeoutError);
    expect(fn).toHaveBeenCalledTimes(1);
    expect(breaker()).toMatchObject({ state: 'CLOSED', failures: 0 });
  });

  it('does not abort the signal of a call that has returned: its body may still be read', async () => {
    const { outcome } = given({ timeoutMs: 200 });
    let told: AbortSignal | undefined;
    await outcome(({ signal }) => void (told = signal));
    expect(told?.aborted).toBe(false);
  });
});

describe('Bulkhead', () => {
  it('refuses what is too much, by a typed error, which is neither retried nor an outage', async () => {
    const { policy, breaker } = given({ maxConcurrent: 1, maxQueued: 1, retries: 5, breaker: { failureThreshold: 1 } });
    const running = [policy.execute(hang), policy.execute(hang)];
    running.forEach((call) => void call.catch(() => undefined));
    const fn = jest.fn();
    await expect(policy.execute(fn)).rejects.toBeInstanceOf(BulkheadFullError);
    expect(fn).not.toHaveBeenCalled();
    expect(breaker()).toMatchObject({ state: 'CLOSED', failures: 0, calls: 3 });
  });

  it('does not ask shouldCount or shouldRetry about its own error', async () => {
    const shouldCount = jest.fn(() => true);
    const shouldRetry = jest.fn(() => true);
    const { policy } = given({ maxConcurrent: 1, maxQueued: 0, shouldCount, shouldRetry });
    void policy.execute(hang).catch(() => undefined);
    await expect(policy.execute(() => 'ok')).rejects.toBeInstanceOf(BulkheadFullError);
    expect(shouldCount).not.toHaveBeenCalled();
    expect(shouldRetry).not.toHaveBeenCalled();
  });

  it('gives its slots back after timeouts', async () => {
    const { outcome } = given({ maxConcurrent: 1, maxQueued: 0, timeoutMs: 100, retries: 0 });
    for (let i = 0; i < 3; i++) expect(await outcome(hang)).toBeInstanceOf(CallTimeoutError);
    expect(await outcome(() => 'ok')).toBe('ok');
  });
});

describe('A policy', () => {
  it('opens, refuses, probes and closes over time', async () => {
    const { policy, breaker } = given({
      retries: 0,
      breaker: { failureThreshold: 2, successThreshold: 1, timeout: 500 },
    });
    for (let i = 0; i < 2; i++) await expect(policy.execute(() => Promise.reject(down))).rejects.toBe(down);
    await expect(policy.execute(() => 'ok')).rejects.toMatchObject({ retryAfterMs: 500 });
    await jest.advanceTimersByTimeAsync(500);
    await expect(policy.execute(() => 'ok')).resolves.toBe('ok');
    expect(breaker()).toMatchObject({ state: 'CLOSED' });
  });

  it('gives a probe time to wait in a full queue and to time out before it is given up', async () => {
    const { policy, breaker } = given({
      retries: 0,
      timeoutMs: 10_000,
      maxConcurrent: 1,
      maxQueued: 2,
      breaker: { failureThreshold: 1, successThreshold: 1, timeout: 100 },
    });
    await expect(policy.execute(() => Promise.reject(down))).rejects.toBe(down);
    await jest.advanceTimersByTimeAsync(100);
    void policy.execute(hang).catch(() => undefined);
    await jest.advanceTimersByTimeAsync(9_999);
    expect(breaker()).toMatchObject({ state: 'HALF_OPEN' });
    await expect(policy.execute(() => 'ok')).rejects.toMatchObject({ retryAfterMs: 20_001 });
  });

  it('takes a fallback around itself', async () => {
    const { resilience, policy } = given();
    resilience.breaker('provider')?.isolate();
    const calm = wrap(
      fallback(handleAll, () => 'instead'),
      policy,
    );
    await expect(calm.execute(() => 'ok')).resolves.toBe('instead');
  });

  it('lets any number of calls share one signal without Node warning of a leak, and leaves no listener on it', async () => {
    const { resilience } = given();
    const policy = resilience.policy('wide', { maxConcurrent: 1_000 });
    const { signal } = new AbortController();
    const ends: Array<() => void> = [];
    const call = () => new Promise<void>((resolve) => ends.push(resolve));
    const calls = Array.from({ length: 100 }, () => policy.execute(call, signal));
    expect(getMaxListeners(signal)).toBe(Infinity);
    expect(getEventListeners(signal, 'abort')).toHaveLength(100);
    ends.forEach((end) => end());
    await Promise.all(calls);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('takes the time from the clock it is given', () => {
    const resilience = new Resilience(() => 42);
    resilience.policy('a');
    resilience.breaker('a')?.isolate();
    expect(resilience.breakers()).toMatchObject([{ openedAt: 42 }]);
  });
});

describe('The registry', () => {
  it('gives all who ask for a name the same policy', () => {
    const { resilience } = given();
    const shouldCount = () => true;
    const options = { timeoutMs: 10, breaker: { timeout: 7 }, shouldCount };
    expect(resilience.policy('a', options)).toBe(resilience.policy('a', { ...options, breaker: { timeout: 7 } }));
    expect(resilience.policy('b')).toBe(resilience.policy('b', { retries: 2, timeoutMs: 5_000 }));
    expect(resilience.policy('a', options)).not.toBe(resilience.policy('b'));
  });

  it('throws when the name is taken with other options', () => {
    const { resilience } = given();
    const options: PolicyOptions = { retries: 1, shouldCount: () => true };
    resilience.policy('a', options);
    for (const other of [{ retries: 3 }, { breaker: { timeout: 1 } }, { shouldCount: () => true }, { maxQueued: 0 }])
      expect(() => resilience.policy('a', { ...options, ...other })).toThrow('Policy "a" exists with other options');
    expect(() => resilience.policy('a')).toThrow('exists');
  });

  it.each<PolicyOptions>([
    { timeoutMs: 0 },
    { retries: -1 },
    { retries: Infinity },
    { backoffMs: NaN },
    { maxConcurrent: 0 },
    { breaker: { failureThreshold: 0 } },
  ])('refuses %j and leaves the name free', (options) => {
    const { resilience } = given();
    expect(() => resilience.policy('a', options)).toThrow(RangeError);
    expect(resilience.breaker('a')).toBeUndefined();
    resilience.policy('a');
  });

  it('shows operators every breaker, by name, and lets them isolate and reset one', async () => {
    const { resilience, outcome } = given();
    resilience.policy('carrier');
    expect(resilience.breakers().map(({ name }) => name)).toEqual(['carrier', 'provider']);
    resilience.breaker('provider')?.isolate();
    expect(resilience.breakers()).toMatchObject([{ state: 'CLOSED' }, { state: 'OPEN', isolated: true }]);
    expect(await outcome(() => 'ok')).toBeInstanceOf(CircuitBreakerOpenError);
    resilience.breaker('provider')?.reset();
    expect(await outcome(() => 'ok')).toBe('ok');
    expect(resilience.breaker('nobody')).toBeUndefined();
  });

  it('tells the state changes of all breakers', () => {
    const { resilience } = given();
    resilience.policy('carrier');
    const told: string[] = [];
    resilience.onStateChange(({ name, from, to }) => void told.push(`${name} ${from} ${to}`));
    resilience.breaker('carrier')?.isolate();
    resilience.breaker('provider')?.isolate();
    resilience.breaker('carrier')?.reset();
    expect(told).toEqual(['carrier CLOSED OPEN', 'provider CLOSED OPEN', 'carrier OPEN CLOSED']);
  });

  it('is one for the whole application', async () => {
    jest.useRealTimers();
    const app = await Test.createTestingModule({ imports: [ResilienceModule] }).compile();
    const resilience = app.get(Resilience);
    await expect(resilience.policy('a').execute(() => 'ok')).resolves.toBe('ok');
    expect(resilience.breakers()).toMatchObject([{ name: 'a', calls: 1 }]);
    await app.close();
  });
});
