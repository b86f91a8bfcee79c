import { DomainError } from '../domain-error';
import type { Decider } from '../event-store/decider';
import type { EventOf } from '../event-store/event';
import { storable, storableText } from '../storable';
import type { NamedStep, SagaDefinition, SagaFailure } from './saga';
import { storableFailure } from './saga-failure';

/** Which saga an event belongs to, and what that one is about: in every event, so that none must be looked up. */
interface About {
  readonly saga: string;
  /** Id of the thing that the saga is about, such as an order. */
  readonly subject: string;
}

/** `final`: it did not happen. `unknown`: it may have happened, and has to be taken back too. */
type Outcome = 'final' | 'unknown';

export type SagaEvent =
  | EventOf<'saga.started', About & { definitionVersion: number; data: unknown }>
  | EventOf<'saga.step-started', About & { step: string; attempt: number; timeoutMs: number }>
  | EventOf<'saga.step-completed', About & { step: string; output: unknown }>
  | EventOf<'saga.step-failed', About & Failed & Retry & { outcome?: Outcome }>
  | EventOf<'saga.cancel-requested', About & Failed>
  | EventOf<'saga.compensation-started', About & { step: string; attempt: number; remaining: readonly string[] }>
  | EventOf<'saga.compensation-completed', About & { step: string }>
  | EventOf<'saga.compensation-failed', About & Failed & Retry>
  | EventOf<'saga.parked', About & { step: string; error: SagaFailure }>
  | EventOf<'saga.resolved', About & { step: string; resolution: Resolution | 'resolved'; by: string; reason: string }>
  | EventOf<'saga.completed', About>
  | EventOf<'saga.compensated', About & { step: string; error: SagaFailure }>;

/**
 * `retry` the compensation; `skip` it, since it was done by hand or is not to be done; or `reject` the cancellation, so that
 * what was done stays done. Releases before knew `resolved`, which went on as `skip` does.
 */
export type Resolution = 'retry' | 'skip' | 'reject';

export const sagaEventTypes: readonly SagaEvent['type'][] = [
  'saga.started',
  'saga.step-started',
  'saga.step-completed',
  'saga.step-failed',
  'saga.cancel-requested',
  'saga.compensation-started',
  'saga.compensation-completed',
  'saga.compensation-failed',
  'saga.parked',
  'saga.resolved',
  'saga.completed',
  'saga.compensated',
];

interface Begun extends About {
  readonly definitionVersion: number;
  readonly data: unknown;
  /** Completed steps, in the order of their completion. */
  readonly done: readonly string[];
  readonly outputs: Readonly<Record<string, unknown>>;
}

interface Failed {
  readonly step: string;
  readonly error: SagaFailure;
}

/** That and when a failed step or compensation is tried again. */
interface Retry {
  readonly retryInMs?: number;
  /** The target asked for patience, so this try does not count. */
  readonly exempt?: boolean;
  /** Since when it has asked for patience at every try; RFC 3339. */
  readonly waitingSince?: string;
}

interface Current {
  readonly step: string;
  readonly attempt: number;
  /** Attempts that do not count towards the limit: the target asked for patience. */
  readonly exempt: number;
  readonly waitingSince?: string;
  /** It failed and waits for its next attempt. */
  readonly waiting: boolean;
}

export type SagaState =
  | { readonly status: 'none' }
  | (Begun & { readonly status: 'running'; readonly current: Current })
  | (Begun & {
      readonly status: 'compensating' | 'parked';
      readonly current: Current;
      /** Still to be taken back, next one first; `current.step` is its head. */
      readonly undo: readonly string[];
      /** The first step that was taken back, or skipped: from then on there is no way forward. */
      readonly takenBack?: string;
      readonly failed: Failed;
    })
  | (Begun & { readonly status: 'completed' })
  | (Begun & { readonly status: 'compensated'; readonly failed: Failed });

export type SagaCommand =
  | { type: 'start'; definition: SagaDefinition<never>; subject: string; data: unknown }
  | { type: 'complete-step'; step: string; output: unknown }
  | { type: 'fail-step'; step: string; error: SagaFailure; outcome: Outcome }
  | { type: 'try-again'; step: string; error: SagaFailure; retryInMs: number; patience?: Patience }
  | { type: 'complete-compensation'; step: string }
  | { type: 'fail-compensation'; step: string; error: SagaFailure; retryInMs?: number; patience?: Patience }
  | { type: 'cancel'; reason: string }
  /** `late`: the time ran while the step could not be carried out, or its answer not be heard. */
  | { type: 'due'; late?: boolean }
  /** Sends an awaited step's command again, with the same key, and begins to wait for the answer anew. */
  | { type: 'ask-again'; step: string }
  /** Nobody here knows the definition: whoever does goes on when it is due. */
  | { type: 'set-aside'; step: string }
  /** For a parked saga; `reject` also while it compensates. */
  | { type: 'resolve'; resolution: Resolution; by: string; reason: string };

/** The target asked for patience, such as an open circuit breaker: the try does not count, but the time does. */
export interface Patience {
  /** The present, RFC 3339. */
  readonly at: string;
}

/** A failed compensation is retried for days before a person is asked: it must not be given up lightly. */
const compensationAttempts = 60;
const compensationPatienceMs = 3 * 24 * 3_600_000;

/** How long a saga that was set aside rests, at least, in ms: two versions of the app may run side by side for a while. */
const setAsideMs = 30_000;

/** Why a saga was set aside; shown to operators, and never the reason of a compensation. */
export const definitionUnknown: SagaFailure = {
  code: 'definition-unknown',
  message: 'No process that runs sagas knows this definition. It goes on when one does.',
};

/** @throws UnknownDefinitionError */
export type Definitions = (name: string, version: number) => SagaDefinition<never>;

/** The saga's state machine: which event follows from which. Carrying the steps out is the runner's part. */
export function sagaDecider(definitions: Definitions): Decider<SagaState, SagaCommand, SagaEvent> {
  return {
    type: 'saga',
    initial: { status: 'none' },
    evolve,
    decide(command, state) {
      if (command.type === 'start') return state.status === 'none' ? start(command) : [];
      if (state.status === 'none') return [];
      // needs no definition, of which there is none
      if (command.type === 'set-aside') return setAside(command.step, state);
      return decide(storableCommand(command), state, definitions(state.saga, state.definitionVersion).steps);
    },
  };
}

/** A command has texts of modules and of third parties: none of them may keep the saga from going on. */
function storableCommand<Command extends SagaCommand>(command: Command): Command {
  if ('error' in command) return { ...command, error: storableFailure(command.error) };
  if (command.type === 'cancel') return { ...command, reason: storableText(command.reason) };
  return command;
}

function setAside(step: string, state: Exclude<SagaState, { status: 'none' }>): SagaEvent[] {
  const about: About = { saga: state.saga, subject: state.subject };
  if (!runs(state, step) && !undoes(state, step)) return [];
  if (state.current.waiting) return [];
  const type = state.status === 'running' ? 'saga.step-failed' : 'saga.compensation-failed';
  return [{ type, ...about, step, error: definitionUnknown, retryInMs: setAsideMs, exempt: true }];
}

function start({ definition, subject, data }: Extract<SagaCommand, { type: 'start' }>): SagaEvent[] {
  const about = { saga: definition.name, subject };
  const [first] = definition.steps;
  if (!first) throw new Error(`Saga ${definition.name} has no steps`);
  return [
    { type: 'saga.started', ...about, definitionVersion: definition.version, data },
    { type: 'saga.step-started', ...about, step: first.name, attempt: 1, timeoutMs: first.timeoutMs },
  ];
}

type Step = NamedStep<never>;

function decide(
  command: Exclude<SagaCommand, { type: 'start' | 'set-aside' }>,
  state: Exclude<SagaState, { status: 'none' }>,
  steps: readonly Step[],
): SagaEvent[] {
  const about: About = { saga: state.saga, subject: state.subject };
  switch (command.type) {
    case 'complete-step': {
      if (!runs(state, command.step)) return [];
      const next = steps[steps.findIndex((step) => step.name === command.step) + 1];
      return [
        { type: 'saga.step-completed', ...about, step: command.step, output: storable(command.output) },
        next
          ? { type: 'saga.step-started', ...about, step: next.name, attempt: 1, timeoutMs: next.timeoutMs }
          : { type: 'saga.completed', ...about },
      ];
    }
    case 'fail-step': {
      if (!runs(state, command.step)) return [];
      const { step, error, outcome } = command;
      return [
        { type: 'saga.step-failed', ...about, step, error, outcome },
        ...undo(about, [...(outcome === 'unknown' ? [step] : []), ...state.done.toReversed()], { step, error }, steps),
      ];
    }
    case 'try-again': {
      if (!runs(state, command.step)) return [];
      const { step, error } = command;
      const { attempts, timeoutMs } = steps.find((each) => each.name === step) ?? { attempts: 1, timeoutMs: 0 };
      const retry = retryOf(command, state.current, attempts, timeoutMs);
      // Given up: it may have happened at one of the tries.
      if (!retry) return decide({ type: 'fail-step', step, error, outcome: 'unknown' }, state, steps);
      return [{ type: 'saga.step-failed', ...about, step, error, ...retry }];
    }
    case 'cancel': {
      if (state.status !== 'running' && state.status !== 'completed') return [];
      const current = state.status === 'running' ? [state.current.step] : [];
      const failed = { step: current[0] ?? state.done.at(-1)!, error: { code: 'cancelled', message: command.reason } };
      return [
        { type: 'saga.cancel-requested', ...about, ...failed },
        ...undo(about, [...current, ...state.done.toReversed()], failed, steps),
      ];
    }
    case 'due': {
      if (state.status === 'compensating' && state.current.waiting)
        return [compensationOf(about, state.undo, state.current.attempt + 1)];
      if (state.status !== 'running') return [];
      const { step, attempt, waiting } = state.current;
      const definition = steps.find((each) => each.name === step);
      if (waiting) {
        const { timeoutMs } = definition!;
        return [{ type: 'saga.step-started', ...about, step, attempt: attempt + 1, timeoutMs }];
      }
      if (command.late && definition?.awaited) return decide({ type: 'ask-again', step }, state, steps);
      const error = { code: 'step-timeout', message: `${step} gave no answer in time` };
      return decide({ type: 'fail-step', step, error, outcome: 'unknown' }, state, steps);
    }
    case 'ask-again': {
      if (!runs(state, command.step) || state.current.waiting) return [];
      const { step, attempt } = state.current;
      const { timeoutMs } = steps.find((each) => each.name === step)!;
      return [{ type: 'saga.step-started', ...about, step, attempt, timeoutMs }];
    }
    case 'complete-compensation': {
      if (!undoes(state, command.step)) return [];
      return [{ type: 'saga.compensation-completed', ...about, step: command.step }, ...nextUndo(about, state)];
    }
    case 'fail-compensation': {
      if (!undoes(state, command.step)) return [];
      const { step, error } = command;
      const retry = retryOf(command, state.current, compensationAttempts, compensationPatienceMs);
      if (retry) return [{ type: 'saga.compensation-failed', ...about, step, error, ...retry }];
      return [
        { type: 'saga.compensation-failed', ...about, step, error },
        { type: 'saga.parked', ...about, step, error },
      ];
    }
    case 'resolve': {
      const { resolution, by, reason } = command;
      if (state.status !== 'parked' && !(state.status === 'compensating' && resolution === 'reject')) return [];
      const { step } = state.current;
      const resolved: SagaEvent = { type: 'saga.resolved', ...about, step, resolution, by, reason };
      if (resolution === 'reject') return [resolved, ...forward(about, state, steps)];
      if (resolution === 'retry') return [resolved, compensationOf(about, state.undo, 1)];
      return [resolved, ...nextUndo(about, state)];
    }
  }
}

/** @returns undefined when it is not to be tried again: out of tries, or out of patience */
function retryOf(
  { retryInMs, patience }: { readonly retryInMs?: number; readonly patience?: Patience },
  current: Current,
  attempts: number,
  patienceMs: number,
): Retry | undefined {
  if (retryInMs === undefined) return undefined;
  if (!patience) {
    return current.attempt - current.exempt >= attempts ? undefined : { retryInMs, exempt: false };
  }
  const { waitingSince = patience.at } = current;
  if (Date.parse(patience.at) - Date.parse(waitingSince) >= patienceMs) return undefined;
  return { retryInMs, exempt: true, waitingSince };
}

function runs(state: SagaState, step: string): state is Extract<SagaState, { status: 'running' }> {
  return state.status === 'running' && state.current.step === step;
}

type Compensating = Extract<SagaState, { status: 'compensating' | 'parked' }>;

function undoes(state: SagaState, step: string): state is Compensating {
  return state.status === 'compensating' && state.current.step === step;
}

function undo(about: About, order: readonly string[], failed: Failed, steps: readonly Step[]): SagaEvent[] {
  const remaining = order.filter((name) => steps.find((step) => step.name === name)?.compensate);
  if (remaining.length === 0) return [{ type: 'saga.compensated', ...about, ...failed }];
  return [compensationOf(about, remaining, 1)];
}

function nextUndo(about: About, { undo: [, ...remaining], failed }: Compensating): SagaEvent[] {
  if (remaining.length === 0) return [{ type: 'saga.compensated', ...about, ...failed }];
  return [compensationOf(about, remaining, 1)];
}

/**
 * What is left to do when nothing is taken back after all. A last step that was under way is begun again, with the same key.
 *
 * @throws DomainError `compensation-begun`, `steps-missing` (conflict)
 */
function forward(about: About, { takenBack, done, failed, undo }: Compensating, steps: readonly Step[]): SagaEvent[] {
  if (takenBack !== undefined) {
    const detail = `${takenBack} has been taken back already: only retry or skip can follow.`;
    throw new DomainError('conflict', 'compensation-begun', detail);
  }
  const [next, ...others] = steps.filter(({ name }) => !done.includes(name));
  if (!next) return [{ type: 'saga.completed', ...about }];
  if (others.length > 0 || next.name !== failed.step || !undo.includes(next.name)) {
    const detail = `${next.name} has not been carried out: there is nothing to keep. Retry or skip instead.`;
    throw new DomainError('conflict', 'steps-missing', detail);
  }
  return [{ type: 'saga.step-started', ...about, step: next.name, attempt: 1, timeoutMs: next.timeoutMs }];
}

function compensationOf(about: About, remaining: readonly string[], attempt: number): SagaEvent {
  return { type: 'saga.compensation-started', ...about, step: remaining[0]!, attempt, remaining };
}

function takenBack(state: Compensating, step: string): Compensating {
  return { ...state, takenBack: state.takenBack ?? step };
}

function evolve(state: SagaState, event: SagaEvent): SagaState {
  if (event.type === 'saga.started') {
    const { saga, subject, definitionVersion, data } = event;
    const current = { step: '', attempt: 0, exempt: 0, waiting: false };
    return { status: 'running', saga, subject, definitionVersion, data, done: [], outputs: {}, current };
  }
  if (state.status === 'none') return state;
  const { saga, subject, definitionVersion, data, done, outputs } = state;
  const begun: Begun = { saga, subject, definitionVersion, data, done, outputs };
  const current = 'current' in state ? state.current : { step: '', attempt: 0, exempt: 0, waiting: false };
  const failed = 'failed' in state ? state.failed : undefined;
  const trying = ({ step, attempt }: { step: string; attempt: number }): Current => {
    if (attempt === 1) return { step, attempt, exempt: 0, waiting: false };
    return { ...current, step, attempt, waiting: false };
  };
  const waiting = ({ exempt, waitingSince }: Retry): Current => {
    return { ...current, exempt: current.exempt + (exempt ? 1 : 0), waitingSince, waiting: true };
  };
  switch (event.type) {
    case 'saga.step-started':
      return { ...begun, status: 'running', current: trying(event) };
    case 'saga.step-completed':
      return {
        ...begun,
        status: 'running',
        current,
        done: [...done, event.step],
        outputs: { ...outputs, [event.step]: event.output },
      };
    case 'saga.step-failed': {
      if (event.outcome === undefined) return { ...begun, status: 'running', current: waiting(event) };
      const { step, error } = event;
      return { ...begun, status: 'compensating', current, undo: [], failed: { step, error } };
    }
    case 'saga.cancel-requested': {
      const { step, error } = event;
      return { ...begun, status: 'compensating', current, undo: [], failed: { step, error } };
    }
    case 'saga.compensation-started': {
      return { ...compensating(state), current: trying(event), undo: event.remaining };
    }
    case 'saga.compensation-failed':
      return { ...compensating(state), current: waiting(event) };
    case 'saga.parked':
      return { ...compensating(state), status: 'parked' };
    case 'saga.compensation-completed':
      return takenBack(compensating(state), event.step);
    case 'saga.resolved': {
      if (event.resolution === 'reject') return { ...begun, status: 'running', current };
      const resumed = compensating(state);
      return event.resolution === 'retry' ? resumed : takenBack(resumed, event.step);
    }
    case 'saga.completed':
      return { ...begun, status: 'completed' };
    case 'saga.compensated':
      return { ...begun, status: 'compensated', failed: failed ?? { step: event.step, error: event.error } };
  }

  function compensating(state: SagaState): Compensating {
    if ('undo' in state) return { ...state, status: 'compensating' };
    const nothing = { step: '', error: { code: 'unknown', message: '' } };
    return { ...begun, status: 'compensating', current, undo: [], failed: failed ?? nothing };
  }
}
