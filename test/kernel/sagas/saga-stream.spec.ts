import { Command } from '@nestjs/cqrs';
import fc from 'fast-check';
import { saga, type SagaDefinition } from '../../../src/kernel/sagas/saga';
import {
  definitionUnknown,
  type SagaCommand,
  sagaDecider,
  type SagaEvent,
  sagaEventTypes,
  type SagaState,
} from '../../../src/kernel/sagas/saga-stream';

class Send extends Command<unknown> {}
const execute = () => new Send();
const compensate = () => new Send();

/** `look` has nothing to take back; `pay` gets two tries. */
const trip = saga<object>('trip', { version: 1 })
  .step('book', { execute, compensate, timeoutMs: 1000 })
  .step('look', { execute, timeoutMs: 2000 })
  .step('pay', { execute, compensate, timeoutMs: 3000, attempts: 2 }) as unknown as SagaDefinition<never>;
const decider = sagaDecider(() => trip);
/** Knows no definition. */
const stranger = sagaDecider((name) => {
  throw new Error(`What is ${name}?`);
});
/** The trip with an awaited step behind it. */
const survey = sagaDecider(() => trip.step('ask', { execute, compensate, awaited: true, timeoutMs: 4000 }));
const subject = 'the trip';
const about = { saga: 'trip', subject };
const error = { code: 'no', message: 'no' };
const noon = '2026-01-01T12:00:00.000Z';
const later = (ms: number) => new Date(Date.parse(noon) + ms).toISOString();

const start: SagaCommand = { type: 'start', definition: trip, subject, data: { to: 'Rome' } };
const begins = (step: string, attempt = 1): SagaEvent => {
  const timeoutMs = { book: 1000, look: 2000, pay: 3000 }[step]!;
  return { type: 'saga.step-started', ...about, step, attempt, timeoutMs };
};
const started: SagaEvent[] = [
  { type: 'saga.started', ...about, definitionVersion: 1, data: { to: 'Rome' } },
  begins('book'),
];
const done = (step: string, output: unknown = null): SagaEvent => {
  return { type: 'saga.step-completed', ...about, step, output };
};
const fails = (step: string, outcome: 'final' | 'unknown', why = error): SagaEvent => {
  return { type: 'saga.step-failed', ...about, step, error: why, outcome };
};
const pauses = (step: string, retryInMs: number, exempt = false): SagaEvent => {
  const patience = exempt ? { exempt, waitingSince: noon } : { exempt };
  return { type: 'saga.step-failed', ...about, step, error, retryInMs, ...patience };
};
const takesBack = (attempt: number, ...remaining: string[]): SagaEvent => {
  return { type: 'saga.compensation-started', ...about, step: remaining[0]!, attempt, remaining };
};
const tookBack = (step: string): SagaEvent => ({ type: 'saga.compensation-completed', ...about, step });
const undone = (step: string, why = error): SagaEvent => ({ type: 'saga.compensated', ...about, step, error: why });
const completed: SagaEvent = { type: 'saga.completed', ...about };
const parked: SagaEvent[] = [
  { type: 'saga.compensation-failed', ...about, step: 'book', error },
  { type: 'saga.parked', ...about, step: 'book', error },
];
const untilPay = [...started, done('book'), begins('look'), done('look'), begins('pay')];
const timeout = (step: string) => ({ code: 'step-timeout', message: `${step} gave no answer in time` });
const cancelled = { code: 'cancelled', message: 'changed my mind' };
const resolve = (resolution: 'retry' | 'skip' | 'reject'): SagaCommand => {
  return { type: 'resolve', resolution, by: 'user:1', reason: 'called them' };
};
const resolved = (resolution: 'retry' | 'skip' | 'reject'): SagaEvent => {
  return { type: 'saga.resolved', ...about, step: 'book', resolution, by: 'user:1', reason: 'called them' };
};

const fold = (events: readonly SagaEvent[]): SagaState => events.reduce(decider.evolve, decider.initial);
const given = (...events: SagaEvent[]) => ({
  when: (command: SagaCommand) => ({
    then: (...expected: SagaEvent[]) => expect(decider.decide(command, fold(events))).toEqual(expected),
  }),
});

describe('the stream of a saga', () => {
  describe('forward', () => {
    it('starts with its first step', () =>
      given()
        .when(start)
        .then(...started));
    it('starts once', () =>
      given(...started)
        .when(start)
        .then());
    it('goes from step to step', () =>
      given(...started)
        .when({ type: 'complete-step', step: 'book', output: { ref: 7 } })
        .then(done('book', { ref: 7 }), begins('look')));
    it('is completed after its last step', () =>
      given(...untilPay)
        .when({ type: 'complete-step', step: 'pay', output: undefined })
        .then(done('pay'), completed));
    it('hears nothing of a step that is not under way', () => {
      given(...untilPay)
        .when({ type: 'complete-step', step: 'book', output: 1 })
        .then();
      given(...untilPay)
        .when({ type: 'fail-step', step: 'look', error, outcome: 'final' })
        .then();
      given(...untilPay, done('pay'), completed)
        .when({ type: 'complete-step', step: 'pay', output: 1 })
        .then();
      given().when({ type: 'complete-step', step: 'book', output: 1 }).then();
    });
    it('keeps the outputs of its steps by name', () =>
      expect(fold([...started, done('book', 1), begins('look'), done('look', 2), begins('pay')])).toMatchObject({
        status: 'running',
        outputs: { book: 1, look: 2 },
        done: ['book', 'look'],
        current: { step: 'pay', attempt: 1 },
      }));
    it('has steps, of different names', () => {
      const none = saga<object>('none', { version: 1 }) as SagaDefinition<never>;
      expect(() => decider.decide({ ...start, definition: none }, fold([]))).toThrow('has no steps');
      expect(() => saga<object>('two', { version: 1 }).step('a', { execute }).step('a', { execute })).toThrow(
        'two steps',
      );
    });
  });

  describe('at a failure', () => {
    it('that is final takes back what was done, last first, and not the step itself', () =>
      given(...untilPay)
        .when({ type: 'fail-step', step: 'pay', error, outcome: 'final' })
        .then(fails('pay', 'final'), takesBack(1, 'book')));
    it('whose outcome is unknown takes the step itself back first', () =>
      given(...untilPay)
        .when({ type: 'fail-step', step: 'pay', error, outcome: 'unknown' })
        .then(fails('pay', 'unknown'), takesBack(1, 'pay', 'book')));
    it('of the first step has nothing to take back', () =>
      given(...started)
        .when({ type: 'fail-step', step: 'book', error, outcome: 'final' })
        .then(fails('book', 'final'), undone('book')));
    it('that may pass waits for the next try', () =>
      given(...untilPay)
        .when({ type: 'try-again', step: 'pay', error, retryInMs: 50 })
        .then(pauses('pay', 50)));
    it('tries again when the time has come', () =>
      given(...untilPay, pauses('pay', 50))
        .when({ type: 'due' })
        .then(begins('pay', 2)));
    it('out of tries has an unknown outcome: it may have happened at one of them', () =>
      given(...untilPay, pauses('pay', 50), begins('pay', 2))
        .when({ type: 'try-again', step: 'pay', error, retryInMs: 50 })
        .then(fails('pay', 'unknown'), takesBack(1, 'pay', 'book')));
    it('does not count tries that met an open circuit', () => {
      const exempt: SagaEvent[] = [1, 2, 3, 4].flatMap((n) => [pauses('pay', 50, true), begins('pay', n + 1)]);
      const again = { type: 'try-again', step: 'pay', error, retryInMs: 50 } as const;
      given(...untilPay, ...exempt)
        .when({ ...again, patience: { at: noon } })
        .then(pauses('pay', 50, true));
      given(...untilPay, ...exempt)
        .when(again)
        .then(pauses('pay', 50));
      given(...untilPay, ...exempt, pauses('pay', 50), begins('pay', 6))
        .when(again)
        .then(fails('pay', 'unknown'), takesBack(1, 'pay', 'book'));
    });
    it('waits for a target that asks for patience no longer than a try may take', () => {
      const again = { type: 'try-again', step: 'pay', error, retryInMs: 50 } as const;
      const waiting = [...untilPay, pauses('pay', 50, true), begins('pay', 2)];
      given(...waiting)
        .when({ ...again, patience: { at: later(2999) } })
        .then(pauses('pay', 50, true));
      given(...waiting)
        .when({ ...again, patience: { at: later(3000) } })
        .then(fails('pay', 'unknown'), takesBack(1, 'pay', 'book'));
    });
    it('counts the wait from the last time that the target did more than ask for patience', () => {
      const answered = [pauses('pay', 50, true), begins('pay', 2), pauses('pay', 50), begins('pay', 3)];
      given(...untilPay, ...answered)
        .when({ type: 'try-again', step: 'pay', error, retryInMs: 50, patience: { at: later(3000) } })
        .then({ ...pauses('pay', 50, true), waitingSince: later(3000) } as SagaEvent);
    });
    it('rests where its definition is unknown, however long, and goes on with the next try', () => {
      const rests: SagaEvent = {
        type: 'saga.step-failed',
        ...about,
        step: 'pay',
        error: definitionUnknown,
        retryInMs: 30_000,
        exempt: true,
      };
      const aside: SagaCommand = { type: 'set-aside', step: 'pay' };
      expect(stranger.decide(aside, fold(untilPay))).toEqual([rests]);
      expect(stranger.decide(aside, fold([...untilPay, rests]))).toEqual([]);
      expect(stranger.decide({ type: 'set-aside', step: 'book' }, fold(untilPay))).toEqual([]);
      given(...untilPay, rests)
        .when({ type: 'due' })
        .then(begins('pay', 2));
      // it cost no try
      given(...untilPay, rests, begins('pay', 2))
        .when({ type: 'try-again', step: 'pay', error, retryInMs: 50 })
        .then(pauses('pay', 50));
    });
    it('asks again for an answer if its time ran out unseen, and again waits as long', () => {
      const asks: SagaEvent = { ...begins('ask'), timeoutMs: 4000 } as SagaEvent;
      const untilAsk = [...untilPay, done('pay'), asks];
      expect(survey.decide({ type: 'due', late: true }, fold(untilAsk))).toEqual([asks]);
      expect(survey.decide({ type: 'ask-again', step: 'ask' }, fold([...untilAsk, asks]))).toEqual([asks]);
      expect(survey.decide({ type: 'ask-again', step: 'pay' }, fold(untilAsk))).toEqual([]);
      expect(survey.decide({ type: 'due' }, fold([...untilAsk, asks]))[0]).toEqual(
        fails('ask', 'unknown', timeout('ask')),
      );
      // a step that is not awaited ends with its command, so there is nothing to ask again
      given(...untilPay)
        .when({ type: 'due', late: true })
        .then(fails('pay', 'unknown', timeout('pay')), takesBack(1, 'pay', 'book'));
    });
    it('makes what a step returns and what an error says storable', () => {
      given(...started)
        .when({ type: 'complete-step', step: 'book', output: { n: 1n, at: new Date(0) } })
        .then(done('book', { n: '1', at: '1970-01-01T00:00:00.000Z' }), begins('look'));
      given(...started)
        .when({ type: 'fail-step', step: 'book', error: { code: 'no', message: 'no\u0000' }, outcome: 'final' })
        .then(
          fails('book', 'final', { code: 'no', message: 'no\ufffd' }),
          undone('book', { code: 'no', message: 'no\ufffd' }),
        );
      given(...untilPay)
        .when({ type: 'cancel', reason: 'half \ud800' })
        .then(
          {
            type: 'saga.cancel-requested',
            ...about,
            step: 'pay',
            error: { code: 'cancelled', message: 'half \ufffd' },
          },
          takesBack(1, 'pay', 'book'),
        );
    });
    it('by deadline has an unknown outcome', () =>
      given(...untilPay)
        .when({ type: 'due' })
        .then(fails('pay', 'unknown', timeout('pay')), takesBack(1, 'pay', 'book')));
  });

  describe('cancelled', () => {
    const cancel: SagaCommand = { type: 'cancel', reason: 'changed my mind' };
    it('on its way takes back the step under way and what was done', () =>
      given(...untilPay)
        .when(cancel)
        .then({ type: 'saga.cancel-requested', ...about, step: 'pay', error: cancelled }, takesBack(1, 'pay', 'book')));
    it('when completed takes everything back', () =>
      given(...untilPay, done('pay'), completed)
        .when(cancel)
        .then({ type: 'saga.cancel-requested', ...about, step: 'pay', error: cancelled }, takesBack(1, 'pay', 'book')));
    it('hears no answer of the step that was under way', () =>
      given(
        ...untilPay,
        { type: 'saga.cancel-requested', ...about, step: 'pay', error: cancelled },
        takesBack(1, 'pay', 'book'),
      )
        .when({ type: 'complete-step', step: 'pay', output: 1 })
        .then());
    it('is nothing new to one that is being taken back, or was', () => {
      given(...untilPay, fails('pay', 'final'), takesBack(1, 'book'))
        .when(cancel)
        .then();
      given(...untilPay, fails('pay', 'final'), takesBack(1, 'book'), tookBack('book'), undone('pay'))
        .when(cancel)
        .then();
      given(...untilPay, fails('pay', 'final'), takesBack(1, 'book'), ...parked)
        .when(cancel)
        .then();
      given().when(cancel).then();
    });
  });

  describe('backward', () => {
    const undoing = [...untilPay, fails('pay', 'unknown'), takesBack(1, 'pay', 'book')];
    const last = [...untilPay, fails('pay', 'final'), takesBack(1, 'book')];
    it('goes from step to step', () =>
      given(...undoing)
        .when({ type: 'complete-compensation', step: 'pay' })
        .then(tookBack('pay'), takesBack(1, 'book')));
    it('ends compensated, with the failure that led there', () =>
      given(...last)
        .when({ type: 'complete-compensation', step: 'book' })
        .then(tookBack('book'), undone('pay')));
    it('tries a compensation again, long', () => {
      const fail: SagaCommand = { type: 'fail-compensation', step: 'book', error, retryInMs: 9 };
      const failed: SagaEvent = {
        type: 'saga.compensation-failed',
        ...about,
        step: 'book',
        error,
        retryInMs: 9,
        exempt: false,
      };
      given(...last)
        .when(fail)
        .then(failed);
      given(...last, failed)
        .when({ type: 'due' })
        .then(takesBack(2, 'book'));
      given(...last, takesBack(59, 'book'))
        .when(fail)
        .then(failed);
      given(...last, takesBack(60, 'book'))
        .when(fail)
        .then(...parked);
      const patient: SagaEvent = { ...failed, exempt: true, waitingSince: noon };
      given(...last, takesBack(60, 'book'))
        .when({ ...fail, patience: { at: noon } })
        .then(patient);
    });
    it('waits for a target that asks for patience three days, and then parks', () => {
      const days = 24 * 3_600_000;
      const fail: SagaCommand = { type: 'fail-compensation', step: 'book', error, retryInMs: 9 };
      const waiting: SagaEvent = { type: 'saga.compensation-failed', ...about, step: 'book', error, retryInMs: 9 };
      const patient: SagaEvent = { ...waiting, exempt: true, waitingSince: noon };
      given(...last, patient, takesBack(2, 'book'))
        .when({ ...fail, patience: { at: later(3 * days - 1) } })
        .then(patient);
      given(...last, patient, takesBack(2, 'book'))
        .when({ ...fail, patience: { at: later(3 * days) } })
        .then(...parked);
    });
    it('rests where its definition is unknown', () => {
      const [rests] = stranger.decide({ type: 'set-aside', step: 'pay' }, fold(undoing));
      expect(rests).toMatchObject({ type: 'saga.compensation-failed', error: definitionUnknown, exempt: true });
      given(...undoing, rests!)
        .when({ type: 'due' })
        .then(takesBack(2, 'pay', 'book'));
    });
    it('has no deadline', () =>
      given(...last)
        .when({ type: 'due' })
        .then());
    it('parks what was refused', () =>
      given(...last)
        .when({ type: 'fail-compensation', step: 'book', error })
        .then(...parked));
    it('parked, does nothing by itself', () => {
      given(...last, ...parked)
        .when({ type: 'due' })
        .then();
      given(...last, ...parked)
        .when({ type: 'complete-compensation', step: 'book' })
        .then();
    });
    it('parked, does what the operator says, and records it', () => {
      const first = [...untilPay, done('pay'), completed];
      const cancel: SagaEvent = { type: 'saga.cancel-requested', ...about, step: 'pay', error: cancelled };
      const parkedFirst = [...first, cancel, takesBack(1, 'book', 'look'), ...parked];
      given(...last, ...parked)
        .when(resolve('retry'))
        .then(resolved('retry'), takesBack(1, 'book'));
      given(...last, ...parked)
        .when(resolve('skip'))
        .then(resolved('skip'), undone('pay'));
      given(...parkedFirst)
        .when(resolve('skip'))
        .then(resolved('skip'), takesBack(1, 'look'));
    });
    it('parked or compensating, goes forward when the cancellation is rejected', () => {
      const cancel: SagaEvent = { type: 'saga.cancel-requested', ...about, step: 'pay', error: cancelled };
      const takingBack = { ...takesBack(1, 'pay', 'book') };
      const rejected = (step: string): SagaEvent => ({ ...resolved('reject'), step }) as SagaEvent;
      given(...untilPay, done('pay'), completed, cancel, takingBack)
        .when(resolve('reject'))
        .then(rejected('pay'), completed);
      given(...untilPay, cancel, takingBack)
        .when(resolve('reject'))
        .then(rejected('pay'), begins('pay'));
      given(...untilPay, cancel, takingBack, rejected('pay'), begins('pay'))
        .when({ type: 'complete-step', step: 'pay', output: 1 })
        .then(done('pay', 1), completed);
    });
    it('keeps nothing once a step was taken back, or while steps are missing', () => {
      const rejectOf =
        (...events: SagaEvent[]) =>
        () =>
          decider.decide(resolve('reject'), fold(events));
      const cancel = (step: string): SagaEvent => ({ type: 'saga.cancel-requested', ...about, step, error: cancelled });
      const takenBack = [cancel('pay'), takesBack(1, 'pay', 'book'), tookBack('pay'), takesBack(1, 'book')];
      expect(rejectOf(...untilPay, ...takenBack)).toThrow(expect.objectContaining({ code: 'compensation-begun' }));
      expect(rejectOf(...started, cancel('book'), takesBack(1, 'book'))).toThrow(
        expect.objectContaining({ code: 'steps-missing' }),
      );
      expect(rejectOf(...untilPay, fails('pay', 'final'), takesBack(1, 'book'))).toThrow(
        expect.objectContaining({ code: 'steps-missing' }),
      );
    });
    it('hears no operator unless it is parked', () => {
      given(...last)
        .when(resolve('skip'))
        .then();
      given(...untilPay)
        .when(resolve('retry'))
        .then();
    });
  });

  describe('whatever happens', () => {
    const names = ['s0', 's1', 's2', 's3'];
    /** What the world answers: chosen step by step, in any order, sensible or not. */
    const answer = fc.oneof(
      { weight: 6, arbitrary: fc.constant('done' as const) },
      { weight: 3, arbitrary: fc.constantFrom('final', 'unknown', 'again', 'patience', 'refused', 'due', 'cancel') },
      { weight: 2, arbitrary: fc.constantFrom('retry', 'skip', 'reject') },
      { weight: 2, arbitrary: fc.constantFrom('stray', 'restart') },
    );
    const arbitrary = fc.record({
      compensated: fc.array(fc.boolean(), { minLength: 1, maxLength: 4 }),
      attempts: fc.integer({ min: 1, max: 3 }),
      answers: fc.array(answer, { maxLength: 60 }),
    });

    const definitionOf = (compensated: boolean[], attempts: number) =>
      compensated.reduce(
        (definition, able, nth) => definition.step(names[nth]!, { execute, attempts, ...(able ? { compensate } : {}) }),
        saga<object>('any', { version: 1 }),
      ) as unknown as SagaDefinition<never>;

    const commandFor = (what: string, state: SagaState, definition: SagaDefinition<never>): SagaCommand => {
      const step = 'current' in state ? state.current.step : 's0';
      const back = state.status === 'compensating' || state.status === 'parked';
      switch (what) {
        case 'done':
          return back ? { type: 'complete-compensation', step } : { type: 'complete-step', step, output: step };
        case 'final':
        case 'unknown':
          if (back) return { type: 'fail-compensation', step, error, retryInMs: 1 };
          return { type: 'fail-step', step, error, outcome: what };
        case 'again':
        case 'patience': {
          const patience = what === 'patience' ? { at: noon } : undefined;
          if (back) return { type: 'fail-compensation', step, error, retryInMs: 1, patience };
          return { type: 'try-again', step, error, retryInMs: 1, patience };
        }
        case 'refused':
          return back
            ? { type: 'fail-compensation', step, error }
            : { type: 'fail-step', step, error, outcome: 'final' };
        case 'cancel':
          return { type: 'cancel', reason: 'no' };
        case 'retry':
        case 'reject':
        case 'skip':
          return resolve(what);
        case 'stray':
          return { type: 'complete-step', step: names.find((name) => name !== step)!, output: 'stray' };
        case 'restart':
          return { type: 'start', definition, subject, data: {} };
        default:
          return { type: 'due' };
      }
    };

    it('it comes to its end, with every step that was done taken back once, in reverse, if it failed', () => {
      const ends = new Set<string>();
      fc.assert(
        fc.property(arbitrary, ({ compensated, attempts, answers }) => {
          const definition = definitionOf(compensated, attempts);
          const { decide, evolve, initial } = sagaDecider(() => definition);
          let state = initial;
          const stream: SagaEvent[] = [];
          const tell = (what: string) => {
            let events: SagaEvent[] = [];
            try {
              events = decide(commandFor(what, state, definition), state);
            } catch (error) {
              expect(error).toMatchObject({ code: expect.stringMatching(/^(compensation-begun|steps-missing)$/) });
            }
            state = events.reduce(evolve, state);
            stream.push(...events);
          };
          tell('restart');
          for (const what of answers) tell(what);
          // from now on everything goes well; a parked one waits for ever
          for (let left = 40; left > 0 && (state.status === 'running' || state.status === 'compensating'); left--) {
            if (state.current.waiting) tell('due');
            tell('done');
          }
          ends.add(state.status);
          expect(['completed', 'compensated', 'parked']).toContain(state.status);

          // a rejected cancellation leaves nothing behind
          const rejected = stream.findLastIndex((e) => e.type === 'saga.resolved' && e.resolution === 'reject');
          const types = stream.slice(0, rejected + 1).map((event) => event.type);
          expect(types).not.toContain('saga.compensation-completed');
          const last = stream.slice(rejected + 1);

          const of = (type: SagaEvent['type'], events = last) =>
            events.flatMap((event) => (event.type === type && 'step' in event ? [event.step] : []));
          const all = compensated.map((_, nth) => names[nth]!);
          const did = of('saga.step-completed', stream);
          expect(did).toEqual(all.slice(0, did.length));
          const stopped = last.find((event) => event.type === 'saga.cancel-requested');
          const unknown = last.flatMap((event) =>
            event.type === 'saga.step-failed' && event.outcome === 'unknown' ? [event.step] : [],
          );
          const underWay = stopped && !did.includes(stopped.step) ? [stopped.step] : unknown;
          const owed = [...did, ...underWay].reverse().filter((name) => compensated[names.indexOf(name)]);
          const settled = last.flatMap((event) => {
            if (event.type === 'saga.compensation-completed') return [event.step];
            return event.type === 'saga.resolved' && event.resolution !== 'retry' ? [event.step] : [];
          });
          if (state.status === 'completed') expect([did, settled]).toEqual([all, []]);
          if (state.status === 'compensated') expect(settled).toEqual(owed);
          if (state.status === 'parked') {
            expect(settled).toEqual(owed.slice(0, settled.length));
            expect(state.current.step).toBe(owed[settled.length]);
          }
          // a compensation is begun only when the ones before it are done
          const begun = of('saga.compensation-started').filter((name, nth, list) => name !== list[nth - 1]);
          expect(begun).toEqual(owed.slice(0, begun.length));
        }),
        { numRuns: 1000 },
      );
      expect([...ends].sort()).toEqual(['compensated', 'completed', 'parked']);
    });

    it('evolve takes any event in any state', () => {
      const step = fc.constantFrom(...names);
      const event = fc.record({
        type: fc.constantFrom(...sagaEventTypes),
        ...{ saga: fc.constant('any'), subject: fc.constant(subject), definitionVersion: fc.constant(1) },
        ...{ data: fc.constant({}), step, attempt: fc.nat(70), timeoutMs: fc.nat(), output: fc.anything() },
        error: fc.constant(error),
        outcome: fc.constantFrom(undefined, 'final', 'unknown'),
        retryInMs: fc.option(fc.nat(), { nil: undefined }),
        remaining: fc.array(step, { minLength: 1 }),
        resolution: fc.constantFrom('retry', 'resolved', 'skip', 'reject'),
        ...{ by: fc.string(), reason: fc.string() },
      }) as fc.Arbitrary<SagaEvent>;
      const statuses = ['none', 'running', 'compensating', 'parked', 'completed', 'compensated'];
      fc.assert(
        fc.property(fc.array(event, { maxLength: 30 }), (events) => {
          let state = decider.initial;
          for (const each of events) {
            const before = JSON.stringify(state);
            const after = decider.evolve(state, each);
            expect(statuses).toContain(after.status);
            expect(JSON.stringify(state)).toBe(before);
            state = after;
          }
        }),
        { numRuns: 500 },
      );
    });
  });
});
