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

  probes() {
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

const ending = fc.constantFrom<Ending>('success', 'success', 'failure', 'failure', 'uncounted');
const start: Action = { do: 'start' };
const end = (which: number, ending: Ending): Action => ({ do: 'end', which, ending });
const call = (ending: Ending): Action[] => [start, end(-1, ending)];
const pass = (ms: number): Action => ({ do: 'pass', ms });

/** Beside the single steps whole episodes, for chance alone seldom opens a breaker and brings it half way back. */
const episode: fc.Arbitrary<readonly Action[]> = fc.oneof(
  { weight: 6, arbitrary: fc.constant([start]) },
  { weight: 5, arbitrary: fc.tuple(fc.nat(20), ending).map(([which, how]) => [end(which, how)]) },
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 30 }).map((ms) => [pass(ms)]) },
  { weight: 1, arbitrary: fc.constantFrom<Action[]>([{ do: 'isolate' }], [{ do: 'reset' }], [{ do: 'reset' }]) },
  { weight: 2, arbitrary: fc.constant<Action[]>([{ do: 'look' }]) },
  { weight: 2, arbitrary: ending.map((how) => call(how)) },
  { weight: 2, arbitrary: fc.constant([...call('failure'), ...call('failure'), ...call('failure')]) },
  { weight: 2, arbitrary: fc.constant([pass(20), ...call('success')]) },
  { weight: 2, arbitrary: fc.constant([pass(20), start, start, start]) },
);

describe('A circuit breaker', () => {
  it('does what the reference model does, whatever happens in whatever order, whoever looks when', async () => {
    const reached = new Set<string>();
    await fc.assert(
      fc.asyncProperty(options, fc.array(episode, { maxLength: 40 }), async (o, episodes) => {
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

        for (const step of [...episodes.flat(), { do: 'look' } as const]) {
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
            const last = running.length - 1;
            const [call] = running.splice(step.which < 0 ? last : step.which % Math.max(1, running.length), 1);
            if (!call?.twin) continue;
            await call.end(step.ending);
            model.end(call.twin, step.ending);
          } else if (step.do === 'look') {
            expect(breaker.snapshot()).toEqual(model.snapshot());
          } else {
            breaker[step.do]();
            model[step.do]();
          }
          reached.add(model.state + (model.isolated ? ' isolated' : model.successes ? ' with a success' : ''));
          reached.add(`${model.probes().length} probes`);
        }
      }),
      { numRuns: 1_000 },
    );
    const states = ['CLOSED', 'HALF_OPEN', 'HALF_OPEN with a success', 'OPEN', 'OPEN isolated'];
    const probes = ['0 probes', '1 probes', '2 probes', '3 probes'];
    expect([...reached].sort()).toEqual([...probes, ...states]);
  });
});
