import fc from 'fast-check';
import { CircuitBreaker, CircuitBreakerOpenError } from '../../../src/kernel/resilience/circuit-breaker';

interface Options {
  failureThreshold: number;
  successThreshold: number;
  timeout: number;
  halfOpenMaxMs: number;
}

type Ending = 'success' | 'failure' | 'uncounted';
type Action =
  | { do: 'start' | 'isolate' | 'reset' | 'look' }
  | { do: 'end'; which: number; ending: Ending }
  | { do: 'pass'; ms: number };

/** The same breaker, told differently: a number for the generation, and a clock that ticks every single millisecond. */
class Model {
  state: 'CLOSED' | 'OPEN' | 'HALF_OPEN' = 'CLOSED';
  generation = 0;
  failures = 0;
  successes = 0;
  calls = 0;
  refusals = 0;
  openForMs = 0;
  openedAt = 0;
  isolated = false;
  now = 0;
  running: Array<{ generation: number; ageMs: number }> = [];

  constructor(private readonly o: Options) {}

  private to(state: Model['state']) {
    this.state = state;
    this.generation++;
    this.successes = 0;
    this.openForMs = 0;
  }

  private probes() {
    return this.state === 'HALF_OPEN' ? this.running.filter((call) => call.generation === this.generation) : [];
  }

  private fail() {
    this.failures++;
    if (this.state === 'CLOSED' && this.failures < this.o.failureThreshold) return;
    this.to('OPEN');
    this.openedAt = this.now;
  }

  tick() {
    this.now++;
    for (const call of this.running) call.ageMs++;
    if (this.state === 'OPEN' && ++this.openForMs >= this.o.timeout && !this.isolated) this.to('HALF_OPEN');
    else if (this.probes().some(({ ageMs }) => ageMs >= this.o.halfOpenMaxMs)) this.fail();
  }

  start() {
    const full = this.probes().length >= this.o.successThreshold - this.successes;
    if (this.state === 'OPEN' || (this.state === 'HALF_OPEN' && full)) return void this.refusals++;
    this.calls++;
    const call = { generation: this.generation, ageMs: 0 };
    this.running.push(call);
    return call;
  }

  end(call: { generation: number; ageMs: number }, ending: Ending) {
    this.running = this.running.filter((other) => other !== call);
    if (call.generation !== this.generation || ending === 'uncounted') return;
    if (ending === 'failure') return this.fail();
    if (this.state === 'CLOSED') this.failures = 0;
    else if (++this.successes === this.o.successThreshold) this.reset();
  }

  isolate() {
    if (this.isolated) return;
    if (this.state !== 'OPEN') this.openedAt = this.now;
    this.isolated = true;
    this.to('OPEN');
  }

  reset() {
    this.isolated = false;
    this.failures = 0;
    this.to('CLOSED');
  }

  snapshot() {
    const { state, failures, successes, calls, refusals, isolated, openedAt } = this;
    const common = { name: 'm', state, failures, successes, calls, refusals, isolated };
    const opened = state === 'CLOSED' ? {} : { openedAt };
    const waiting = state === 'OPEN' && !isolated ? { retryAfterMs: this.o.timeout - this.openForMs } : {};
    return { ...common, ...opened, ...waiting };
  }
}

const options = fc.record({
  failureThreshold: fc.integer({ min: 1, max: 3 }),
  successThreshold: fc.integer({ min: 1, max: 3 }),
  timeout: fc.integer({ min: 1, max: 20 }),
  halfOpenMaxMs: fc.integer({ min: 1, max: 20 }),
});

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Action>({ do: 'start' }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('end' as const),
      which: fc.nat(20),
      ending: fc.constantFrom<Ending>('success', 'success', 'failure', 'failure', 'uncounted'),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 30 }) }) },
  { weight: 1, arbitrary: fc.constantFrom<Action>({ do: 'isolate' }, { do: 'reset' }, { do: 'reset' }) },
  { weight: 2, arbitrary: fc.constant<Action>({ do: 'look' }) },
);

describe('A circuit breaker', () => {
  it('does what the reference model does, whatever happens in whatever order, whoever looks when', async () => {
    const reached = new Set<string>();
    await fc.assert(
      fc.asyncProperty(options, fc.array(action, { maxLength: 60 }), async (o, actions) => {
        const model = new Model(o);
        let now = 0;
        const uncounted = new Error('declined');
        const breaker = new CircuitBreaker({
          name: 'm',
          ...o,
          clock: () => now,
          shouldCount: (error) => error !== uncounted,
        });
        const running: Array<{ twin: ReturnType<Model['start']>; end: (ending: Ending) => Promise<unknown> }> = [];

        for (const step of [...actions, { do: 'look' } as const]) {
          if (step.do === 'pass') {
            now += step.ms;
            for (let i = 0; i < step.ms; i++) model.tick();
          } else if (step.do === 'start') {
            let end!: (ending: Ending) => void;
            const answer = new Promise<void>((resolve, reject) => {
              end = (ending) =>
                ending === 'success' ? resolve() : reject(ending === 'failure' ? new Error() : uncounted);
            });
            let admitted = false;
            const ended = breaker
              .execute(() => ((admitted = true), answer))
              .catch((error: unknown) => admitted || expect(error).toBeInstanceOf(CircuitBreakerOpenError));
            const twin = model.start();
            expect(admitted).toBe(twin !== undefined);
            if (admitted) running.push({ twin, end: (ending) => (end(ending), ended) });
            else await ended;
          } else if (step.do === 'end') {
            const [call] = running.splice(step.which % Math.max(1, running.length), 1);
            if (!call?.twin) continue;
            await call.end(step.ending);
            model.end(call.twin, step.ending);
          } else if (step.do === 'look') {
            expect(breaker.snapshot()).toEqual(model.snapshot());
            reached.add(model.state + (model.isolated ? ' isolated' : model.successes ? ' with a success' : ''));
          } else {
            breaker[step.do]();
            model[step.do]();
          }
        }
      }),
      { numRuns: 1_000 },
    );
    expect([...reached].sort()).toEqual(['CLOSED', 'HALF_OPEN', 'HALF_OPEN with a success', 'OPEN', 'OPEN isolated']);
  });
});
