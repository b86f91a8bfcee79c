import { handleAll, isBrokenCircuitError, retry, timeout, TimeoutStrategy, wrap } from 'cockatiel';
import {
  CircuitBreaker,
  CircuitBreakerOpenError,
  type BreakerStateChange,
  type CircuitBreakerOptions,
} from '../../../src/kernel/resilience/circuit-breaker';

class Declined extends Error {}

/** A call whose end the test decides. */
function pending() {
  let succeed!: () => void;
  let fail!: (error?: Error) => void;
  const answer = new Promise<void>((resolve, reject) => {
    succeed = resolve;
    fail = (error = new Error('down')) => reject(error);
  });
  return { succeed, fail, call: () => answer };
}

function given(options: Partial<CircuitBreakerOptions> = {}) {
  let now = 1_000_000;
  const breaker = new CircuitBreaker({
    name: 'carrier',
    failureThreshold: 3,
    successThreshold: 2,
    timeout: 1_000,
    halfOpenMaxMs: 400,
    shouldCount: (error) => !(error instanceof Declined),
    clock: () => now,
    ...options,
  });
  const succeed = () => breaker.execute(() => 'ok');
  const fail = (error: Error = new Error('down')) =>
    breaker
      .execute(() => Promise.reject(error))
      .then(
        () => undefined,
        (e: unknown) => e,
      );
  const start = () => {
    const { succeed, fail, call } = pending();
    const ended = breaker.execute(call).then(
      () => 'ok',
      (error: unknown) => error,
    );
    return {
      succeed: () => (succeed(), ended),
      fail: (error?: Error) => (fail(error), ended),
      ended,
    };
  };
  const open = async () => {
    for (let i = 0; i < (options.failureThreshold ?? 3); i++) await fail();
  };
  return {
    breaker,
    succeed,
    fail,
    start,
    pass: (ms: number) => void (now += ms),
    now: () => now,
    open,
    async halfOpen() {
      await open();
      now += options.timeout ?? 1_000;
    },
  };
}

describe('A closed breaker', () => {
  it('passes results and errors on as they are', async () => {
    const { breaker, succeed, fail } = given();
    const error = new Error('down');
    expect(await succeed()).toBe('ok');
    expect(await fail(error)).toBe(error);
    await expect(
      breaker.execute(() => {
        throw error;
      }),
    ).rejects.toBe(error);
  });

  it('opens at failureThreshold failures in a row, not one earlier', async () => {
    const { breaker, fail } = given();
    await fail();
    await fail();
    expect(breaker.state).toBe('CLOSED');
    await fail();
    expect(breaker.state).toBe('OPEN');
  });

  it('begins to count anew after a success', async () => {
    const { breaker, fail, succeed } = given();
    await fail();
    await fail();
    await succeed();
    await fail();
    await fail();
    expect(breaker.snapshot()).toMatchObject({ state: 'CLOSED', failures: 2 });
  });

  it('does not take a declined card for an outage', async () => {
    const { breaker, fail } = given();
    for (let i = 0; i < 50; i++) expect(await fail(new Declined())).toBeInstanceOf(Declined);
    expect(breaker.snapshot()).toMatchObject({ state: 'CLOSED', failures: 0, calls: 50 });
  });

  it('does not let a declined card hide an outage either', async () => {
    const { breaker, fail } = given();
    for (let i = 0; i < 3; i++) {
      await fail(new Declined());
      await fail();
    }
    expect(breaker.state).toBe('OPEN');
  });

  it('does not count a caller who walked away', async () => {
    const { breaker } = given({ failureThreshold: 1 });
    const caller = new AbortController();
    const call = breaker.execute(
      ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      caller.signal,
    );
    caller.abort();
    await expect(call).rejects.toThrow('aborted');
    expect(breaker.state).toBe('CLOSED');
  });

  it('makes no call for a caller who has gone already', async () => {
    const { breaker } = given();
    const fn = jest.fn();
    await expect(breaker.execute(fn, AbortSignal.abort())).rejects.toThrow('cancelled');
    expect(fn).not.toHaveBeenCalled();
    expect(breaker.snapshot().calls).toBe(0);
  });
});

describe('An open breaker', () => {
  it('refuses at once, without calling, and says who it is and when to come back', async () => {
    const { breaker, open, pass } = given();
    await open();
    pass(300);
    const fn = jest.fn();
    const error = await breaker.execute(fn).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(CircuitBreakerOpenError);
    expect(error).toMatchObject({ name: 'CircuitBreakerOpenError', breaker: 'carrier', retryAfterMs: 700 });
    expect(isBrokenCircuitError(error)).toBe(true);
    expect(fn).not.toHaveBeenCalled();
  });

  it('becomes half open when timeout has passed, not a millisecond earlier', async () => {
    const { breaker, open, pass } = given();
    await open();
    pass(999);
    expect(breaker.snapshot()).toMatchObject({ state: 'OPEN', retryAfterMs: 1 });
    pass(1);
    expect(breaker.state).toBe('HALF_OPEN');
  });

  it('is not kept open longer by the failures of calls that began before it opened', async () => {
    const { breaker, open, start, pass, now } = given();
    const old = start();
    await open();
    const openedAt = now();
    pass(500);
    await old.fail();
    expect(breaker.snapshot()).toMatchObject({ openedAt, failures: 3, retryAfterMs: 500 });
  });
});

describe('A half-open breaker', () => {
  it.each([1, 2, 5])(
    'admits %i of a thousand waiting callers and refuses the rest at once',
    async (successThreshold) => {
      const { breaker, halfOpen } = given({ successThreshold });
      await halfOpen();
      let inside = 0;
      const { call, succeed } = pending();
      const calls = Array.from({ length: 1_000 }, () => breaker.execute(() => (inside++, call())));
      const outcomes = Promise.allSettled(calls);
      expect(inside).toBe(successThreshold);
      succeed();
      const refused = (await outcomes).filter(({ status }) => status === 'rejected');
      expect(refused).toHaveLength(1_000 - successThreshold);
      expect(inside).toBe(successThreshold);
      expect(breaker.state).toBe('CLOSED');
    },
  );

  it('closes after successThreshold successes, not after the first', async () => {
    const { breaker, halfOpen, succeed } = given();
    await halfOpen();
    await succeed();
    expect(breaker.snapshot()).toMatchObject({ state: 'HALF_OPEN', successes: 1 });
    await succeed();
    expect(breaker.snapshot()).toMatchObject({ state: 'CLOSED', successes: 0, failures: 0 });
    expect(breaker.snapshot()).not.toHaveProperty('openedAt');
  });

  it('admits only as many as it still needs', async () => {
    const { halfOpen, start, succeed } = given({ successThreshold: 3 });
    await halfOpen();
    await succeed();
    const first = start();
    const second = start();
    expect(await start().ended).toBeInstanceOf(CircuitBreakerOpenError);
    await first.succeed();
    expect(await start().ended).toBeInstanceOf(CircuitBreakerOpenError);
    await second.succeed();
    expect(await succeed()).toBe('ok');
  });

  it('opens again at the first failure, for a whole timeout', async () => {
    const { breaker, halfOpen, succeed, fail, now } = given();
    await halfOpen();
    await succeed();
    await fail();
    expect(breaker.snapshot()).toMatchObject({ state: 'OPEN', openedAt: now(), retryAfterMs: 1_000, successes: 0 });
  });

  it('is not reopened by a slow failure from before', async () => {
    const { breaker, halfOpen, start } = given();
    const old = start();
    await halfOpen();
    expect(breaker.state).toBe('HALF_OPEN');
    await old.fail();
    expect(breaker.state).toBe('HALF_OPEN');
  });

  it('is not closed by slow successes from before', async () => {
    const { breaker, halfOpen, start } = given();
    const old = [start(), start()];
    await halfOpen();
    for (const call of old) await call.succeed();
    expect(breaker.snapshot()).toMatchObject({ state: 'HALF_OPEN', successes: 0 });
  });

  it('counts no success of an earlier half-open phase', async () => {
    const { breaker, halfOpen, start, pass } = given();
    await halfOpen();
    const [slow, failing] = [start(), start()];
    await failing.fail();
    pass(1_000);
    expect(breaker.state).toBe('HALF_OPEN');
    await slow.succeed();
    expect(breaker.snapshot()).toMatchObject({ state: 'HALF_OPEN', successes: 0 });
  });

  it('frees the place of a probe that ends in an error which does not count', async () => {
    const { breaker, halfOpen, fail, succeed } = given({ successThreshold: 1 });
    await halfOpen();
    await fail(new Declined());
    expect(breaker.state).toBe('HALF_OPEN');
    await succeed();
    expect(breaker.state).toBe('CLOSED');
  });

  it('frees the place of a probe also when shouldCount itself has a bug', async () => {
    const { halfOpen, fail, succeed, breaker } = given({
      failureThreshold: 1,
      successThreshold: 1,
      shouldCount: (error) => {
        if (error instanceof Declined) throw new TypeError('bug');
        return true;
      },
    });
    await halfOpen();
    expect(await fail(new Declined())).toBeInstanceOf(TypeError);
    await succeed();
    expect(breaker.state).toBe('CLOSED');
  });

  it('reopens when a probe hangs past halfOpenMaxMs, and then probes again', async () => {
    const { breaker, halfOpen, start, pass, succeed, now } = given();
    await halfOpen();
    const hung = start();
    pass(399);
    expect(breaker.state).toBe('HALF_OPEN');
    pass(1);
    expect(breaker.snapshot()).toMatchObject({ state: 'OPEN', openedAt: now(), retryAfterMs: 1_000 });
    pass(1_000);
    await succeed();
    await hung.fail();
    expect(breaker.snapshot()).toMatchObject({ state: 'HALF_OPEN', successes: 1 });
    await succeed();
    expect(breaker.state).toBe('CLOSED');
  });

  it('does not believe a probe that answers after halfOpenMaxMs, though nobody has looked meanwhile', async () => {
    const { breaker, halfOpen, start, pass } = given({ successThreshold: 1 });
    await halfOpen();
    const late = start();
    pass(401);
    expect(await late.succeed()).toBe('ok');
    expect(breaker.snapshot()).toMatchObject({ state: 'OPEN', retryAfterMs: 999 });
  });

  it('gives a probe up after timeout when halfOpenMaxMs is not given', async () => {
    const { breaker, halfOpen, start, pass } = given({ halfOpenMaxMs: undefined });
    await halfOpen();
    start();
    pass(999);
    expect(breaker.state).toBe('HALF_OPEN');
    pass(1);
    expect(breaker.state).toBe('OPEN');
  });

  it('may wait for its first probe as long as it likes', async () => {
    const { breaker, halfOpen, pass } = given();
    await halfOpen();
    pass(1_000_000);
    expect(breaker.state).toBe('HALF_OPEN');
  });

  it('tells whom it refuses to come back when the oldest probe must have been decided', async () => {
    const { halfOpen, start, pass } = given();
    await halfOpen();
    start();
    pass(100);
    start();
    pass(50);
    expect(await start().ended).toMatchObject({ retryAfterMs: 250, isolated: false });
  });
});

describe('An operator', () => {
  it('isolates: open until reset, whatever the time', async () => {
    const { breaker, pass, fail, now } = given();
    const openedAt = now();
    breaker.isolate();
    pass(1_000_000);
    expect(await fail()).toMatchObject({ name: 'CircuitBreakerOpenError', isolated: true, retryAfterMs: 1_000 });
    expect(breaker.snapshot()).toEqual({
      name: 'carrier',
      state: 'OPEN',
      isolated: true,
      failures: 0,
      successes: 0,
      calls: 0,
      refusals: 1,
      openedAt,
    });
  });

  it('isolates an open and a half-open breaker too', async () => {
    for (const phase of ['open', 'halfOpen'] as const) {
      const world = given();
      await world[phase]();
      world.breaker.isolate();
      world.pass(10_000);
      expect(world.breaker.snapshot()).toMatchObject({ state: 'OPEN', isolated: true });
    }
  });

  it('isolates an open breaker without a new opening, and twice like once', async () => {
    const { breaker, open, pass, now } = given();
    await open();
    const openedAt = now();
    const changes: BreakerStateChange[] = [];
    breaker.onStateChange((change) => void changes.push(change));
    pass(10);
    breaker.isolate();
    breaker.isolate();
    expect(breaker.snapshot()).toMatchObject({ openedAt, failures: 3 });
    expect(changes).toEqual([{ name: 'carrier', from: 'OPEN', to: 'OPEN', isolated: true, at: openedAt + 10 }]);
  });

  it('isolates for good against probes that succeed later', async () => {
    const { breaker, halfOpen, start } = given();
    await halfOpen();
    const probes = [start(), start()];
    breaker.isolate();
    for (const probe of probes) await probe.succeed();
    expect(breaker.snapshot()).toMatchObject({ state: 'OPEN', isolated: true });
  });

  it('resets from every state to a clean closed breaker', async () => {
    for (const phase of ['open', 'halfOpen', 'isolated'] as const) {
      const world = given();
      if (phase === 'isolated') world.breaker.isolate();
      else await world[phase]();
      world.breaker.reset();
      expect(world.breaker.snapshot()).toMatchObject({ state: 'CLOSED', failures: 0, isolated: false });
      expect(await world.succeed()).toBe('ok');
    }
  });

  it('resets a closed breaker: failures from before, and calls still on their way, are forgotten', async () => {
    const { breaker, fail, start } = given();
    await fail();
    const old = [start(), start(), start()];
    breaker.reset();
    for (const call of old) await call.fail();
    expect(breaker.snapshot()).toMatchObject({ state: 'CLOSED', failures: 0 });
  });
});

describe('Its gauges and events', () => {
  it('count calls and refusals for ever, through resets', async () => {
    const { breaker, open, fail, succeed } = given();
    await open();
    await fail();
    await fail();
    breaker.reset();
    await succeed();
    expect(breaker.snapshot()).toMatchObject({ calls: 4, refusals: 2 });
  });

  it('tell every change of state, with its true moment, however late somebody looks', async () => {
    const { breaker, open, pass, start, now } = given({ successThreshold: 1 });
    const changes: BreakerStateChange[] = [];
    const subscription = breaker.onStateChange((change) => void changes.push(change));
    const t = now();
    await open();
    pass(1_000);
    start();
    pass(50_000);
    await start().succeed();
    breaker.isolate();
    breaker.reset();
    breaker.reset();
    const to = (from: string, to: string, at: number, isolated = false) => ({
      name: 'carrier',
      from,
      to,
      at,
      isolated,
    });
    expect(changes).toEqual([
      to('CLOSED', 'OPEN', t),
      to('OPEN', 'HALF_OPEN', t + 1_000),
      to('HALF_OPEN', 'OPEN', t + 1_400),
      to('OPEN', 'HALF_OPEN', t + 2_400),
      to('HALF_OPEN', 'CLOSED', t + 51_000),
      to('CLOSED', 'OPEN', t + 51_000, true),
      to('OPEN', 'CLOSED', t + 51_000),
    ]);
    subscription.dispose();
    breaker.isolate();
    expect(changes).toHaveLength(7);
  });

  it('tell successes, failures and refusals in the way of cockatiel', async () => {
    const { breaker, succeed, fail } = given({ failureThreshold: 1 });
    const told: unknown[] = [];
    breaker.onSuccess(({ duration }) => told.push(['success', duration >= 0]));
    breaker.onFailure(({ handled }) => told.push(['failure', handled]));
    breaker.onRefusal(({ breaker: name }) => told.push(['refusal', name]));
    await succeed();
    await fail(new Declined());
    await fail();
    await fail();
    expect(told).toEqual([
      ['success', true],
      ['failure', false],
      ['failure', true],
      ['refusal', 'carrier'],
    ]);
  });

  it('a listener that throws changes no outcome', async () => {
    const warning = jest.spyOn(process, 'emitWarning').mockImplementation();
    const { breaker, open, succeed, fail } = given();
    const faulty = () => {
      throw new Error('gauge');
    };
    for (const event of [breaker.onSuccess, breaker.onFailure, breaker.onRefusal, breaker.onStateChange]) event(faulty);
    expect(await succeed()).toBe('ok');
    await open();
    expect(await fail()).toBeInstanceOf(CircuitBreakerOpenError);
    expect(warning).toHaveBeenCalledTimes(6);
    warning.mockRestore();
  });
});

describe('Within cockatiel', () => {
  it('composes by wrap, with the context of the policies around it', async () => {
    const { breaker } = given();
    const policy = wrap(retry(handleAll, { maxAttempts: 1 }), breaker, timeout(1_000, TimeoutStrategy.Aggressive));
    const seen: Array<[number, boolean]> = [];
    const result = await policy.execute(({ attempt, signal }) => {
      seen.push([attempt, signal.aborted]);
      if (attempt === 0) throw new Error('down');
      return 42;
    });
    expect(result).toBe(42);
    expect(seen).toEqual([
      [0, false],
      [1, false],
    ]);
    expect(breaker.snapshot()).toMatchObject({ calls: 2, failures: 0 });
  });
});

describe('Its options', () => {
  it.each([
    { failureThreshold: 0 },
    { failureThreshold: 1.5 },
    { successThreshold: 0 },
    { timeout: 0 },
    { timeout: NaN },
    { halfOpenMaxMs: -1 },
  ])('refuse %j', (options) => {
    expect(() => given(options)).toThrow(RangeError);
  });

  it('need no clock: time then is monotonic and near to that of the wall', () => {
    const breaker = new CircuitBreaker({ name: 'x', failureThreshold: 1, successThreshold: 1, timeout: 1_000 });
    breaker.isolate();
    expect(Math.abs((breaker.snapshot().openedAt ?? 0) - Date.now())).toBeLessThan(10_000);
  });
});
