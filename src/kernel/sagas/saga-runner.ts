import { setTimeout as delay } from 'node:timers/promises';
import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { CommandBus, type Command, type IEventHandler } from '@nestjs/cqrs';
import { currentContext, ExecutionContext, runInContext } from '../context';
import { Database } from '../database/database';
import { DomainError } from '../domain-error';
import { VersionMismatch } from '../event-store/errors';
import { EventType } from '../event-store/event-type';
import { isInfrastructure, messageOf } from '../fault';
import { idOf, newId } from '../ids';
import { retryAfterMs } from '../resilience/retry-after';
import { describeThrown, readable } from '../storable';
import { Reaction } from '../subscriptions/reaction';
import type { RetryOptions } from '../subscriptions/runner';
import { RETRY_OPTIONS } from '../subscriptions/subscriptions';
import { within } from '../time-limit';
import { traced } from '../tracing/tracing';
import type { NamedStep } from './saga';
import { failureOf } from './saga-failure';
import { type DueSaga, SagaInstances } from './saga-instances';
import type { Patience, SagaState } from './saga-stream';
import { Sagas } from './sagas';

@EventType('saga.step-started')
class StepStarted {
  constructor(
    readonly saga: string,
    readonly subject: string,
    readonly step: string,
    readonly attempt: number,
  ) {}
}

@EventType('saga.compensation-started')
class CompensationStarted {
  constructor(
    readonly saga: string,
    readonly subject: string,
    readonly step: string,
    readonly attempt: number,
  ) {}
}

const retryBaseMs = 100;
const retryCeilingMs = 30_000;
const compensationCeilingMs = 3_600_000;

const timerMs = 250;
/** Sagas that are woken at once. */
const maxWaking = 100;
/** How long a shutdown waits for those that are being woken, in ms: they are woken again by the next process. */
const farewellMs = 2000;
/** A saga that cannot be woken is tried again after ever longer pauses, up to this, in ms. */
const wakeCeilingMs = 60_000;
/** A timer that is read later than this, in ms, was not read in time: the process or the database was away. */
const gapMs = 5000;

type Running = Extract<SagaState, { status: 'running' }>;
type Compensating = Extract<SagaState, { status: 'compensating' | 'parked' }>;

/**
 * Carries out what the saga's stream says is begun, and writes the result into it. Being fed from the log is what
 * makes it durable: a step begun before a crash is delivered again after it, with the same key.
 */
@Reaction({ name: 'sagas.run' }, StepStarted, CompensationStarted)
export class SagaRunner implements IEventHandler<StepStarted | CompensationStarted> {
  private readonly logger = new Logger('Sagas');

  /** Keys of steps whose command could not be carried out for want of the database, or the like. */
  private readonly heldUp = new Set<string>();
  /** Definitions that were missing when they were needed, so that each is reported once. */
  private readonly missing = new Set<string>();

  constructor(
    private readonly sagas: Sagas,
    private readonly commands: CommandBus,
    private readonly database: Database,
    @Inject(RETRY_OPTIONS) private readonly retry: RetryOptions,
  ) {}

  async handle(event: StepStarted | CompensationStarted): Promise<void> {
    const id = this.sagas.idOf({ name: event.saga }, event.subject);
    const { state } = await this.sagas.load(id);
    // Redelivery of an earlier attempt; its outcome is already in the stream.
    if (!('current' in state) || state.current.waiting) return;
    if (state.current.step !== event.step || state.current.attempt !== event.attempt) return;
    const definition = this.sagas.definition(state.saga, state.definitionVersion);
    const step = definition?.steps.find((each) => each.name === event.step);
    if (!step) return this.setAside(id, state, event.step);
    if (state.status === 'running' && event instanceof StepStarted) await this.execute(id, state, step);
    if (state.status === 'compensating' && event instanceof CompensationStarted) await this.compensate(id, state, step);
  }

  private async execute(id: string, state: Running, { name: step, ...definition }: NamedStep<never>): Promise<void> {
    const { attempt } = state.current;
    const key = `${id}/${step}`;
    let output: unknown;
    try {
      output = await tracedStep('saga step', id, state, () =>
        this.send(key, { timeoutMs: definition.timeoutMs, isRetry: attempt > 1 }, () =>
          definition.execute(state.data as never, { key, outputs: state.outputs }),
        ),
      );
    } catch (thrown) {
      const error = readable(thrown);
      this.rethrowInfrastructure(key, error);
      this.report('Step', state, error);
      const failure = failureOf(error);
      const retryInMs = retryAfterMs(error) ?? backoff(attempt, retryCeilingMs);
      const patience = await this.patienceFor(error);
      await this.sagas.decide(
        id,
        error instanceof DomainError
          ? // A refusal speaks for this attempt; an earlier one may have taken effect all the same.
            { type: 'fail-step', step, error: failure, outcome: attempt > 1 ? 'unknown' : 'final' }
          : { type: 'try-again', step, error: failure, retryInMs, patience },
      );
      return;
    }
    const wasHeldUp = this.heldUp.delete(key);
    if (!definition.awaited) await this.sagas.decide(id, { type: 'complete-step', step, output });
    // Its time for an answer ran while nobody had been asked.
    else if (wasHeldUp) await this.sagas.decide(id, { type: 'ask-again', step });
  }

  private async compensate(id: string, state: Compensating, definition: NamedStep<never>): Promise<void> {
    const { step, attempt } = state.current;
    const key = `${id}/${step}`;
    const undoKey = `${key}/undo`;
    try {
      await tracedStep('saga compensation', id, state, () =>
        this.send(undoKey, { timeoutMs: definition.timeoutMs, isRetry: attempt > 1 }, () =>
          definition.compensate?.(state.data as never, { key, outputs: state.outputs }),
        ),
      );
    } catch (thrown) {
      const error = readable(thrown);
      this.rethrowInfrastructure(undoKey, error);
      this.report('Compensation of step', state, error);
      // A refusal will not change when it is asked again: a person has to look.
      const retryInMs =
        error instanceof DomainError ? undefined : (retryAfterMs(error) ?? backoff(attempt, compensationCeilingMs));
      const patience = await this.patienceFor(error);
      await this.sagas.decide(id, { type: 'fail-compensation', step, error: failureOf(error), retryInMs, patience });
      return;
    }
    this.heldUp.delete(undoKey);
    await this.sagas.decide(id, { type: 'complete-compensation', step });
  }

  /**
   * What the infrastructure is at fault for says nothing about the step: no try, no event, no limit of time. The
   * subscription waits, and delivers the same event again.
   */
  private rethrowInfrastructure(key: string, error: unknown): void {
    if (isInfrastructure(error)) {
      this.heldUp.add(key);
      throw error;
    }
    this.heldUp.delete(key);
  }

  /** Another process, or a later version of the app, may know the definition. Meanwhile it holds up no other saga. */
  private async setAside(id: string, state: Running | Compensating, step: string): Promise<void> {
    const definition = `${state.saga} v${state.definitionVersion}`;
    if (!this.missing.has(definition)) {
      this.missing.add(definition);
      const which = `step ${step} of saga ${definition}`;
      this.logger.error(`This process does not know ${which}: its sagas rest until a process does that runs sagas`);
    }
    await this.sagas.decide(id, { type: 'set-aside', step });
  }

  /** To the log: the events do not have the text of an error that is no refusal. Of a long wait only the beginning. */
  private report(what: string, state: Running | Compensating, error: unknown): void {
    if (error instanceof DomainError) return;
    const { step, attempt, waitingSince } = state.current;
    const level = waitingSince !== undefined && retryAfterMs(error) !== undefined ? 'debug' : 'warn';
    const trace = currentContext().correlationId;
    this.logger[level](
      `${what} ${step} of ${state.saga} ${state.subject} failed (try ${attempt}), trace ${trace}: ${describeThrown(error)}`,
    );
  }

  /** Ids made while the command runs derive from the step's key, not from the attempt: a repeat finds them. */
  private async send(
    key: string,
    { timeoutMs, isRetry }: { timeoutMs: number; isRetry: boolean },
    make: () => Command<unknown> | undefined,
  ): Promise<unknown> {
    const { actor, correlationId, causationId, mayHaveRun, traceparent } = currentContext();
    const context = new ExecutionContext(actor, idOf(key), correlationId, causationId, mayHaveRun || isRetry);
    context.traceparent = traceparent;
    const command = make();
    if (!command) return undefined;
    // Sooner than the delivery of the event, so that it is a try of this step that ends and not a dead letter.
    const limitMs = Math.min(timeoutMs, this.retry.deliveryMs / 2);
    return within(limitMs, `${command.constructor.name} of ${key}`, () =>
      runInContext(context, () => this.commands.execute(command)),
    );
  }

  /**
   * Of an error that asks for patience, such as that of an open circuit breaker: the try does not count. Time is the
   * database's, since a clock of a process that is put right in between would end all patience at once.
   */
  private async patienceFor(error: unknown): Promise<Patience | undefined> {
    if (retryAfterMs(error) === undefined) return undefined;
    const { rows } = await this.database.pool.query<{ at: Date }>('select clock_timestamp() as at');
    return { at: rows[0]!.at.toISOString() };
  }
}

function tracedStep<T>(what: string, id: string, state: Running | Compensating, work: () => Promise<T>): Promise<T> {
  const { step, attempt } = state.current;
  const describe = () => ({
    attributes: {
      'orderloom.saga': state.saga,
      'orderloom.saga.id': id,
      'orderloom.saga.subject': state.subject,
      'orderloom.saga.step': step,
      'orderloom.attempt': attempt,
    },
  });
  return traced(`${what} ${state.saga} ${step}`, describe, work);
}

/** Wakes sagas whose next try or deadline has come. */
@Injectable()
export class SagaTimers implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger('SagaTimers');
  private timer: NodeJS.Timeout | undefined;
  private round: Promise<void> = Promise.resolve();
  private stopped = false;
  /** Sagas that are being woken, by id: a slow one is not waited for. */
  private readonly waking = new Map<string, Promise<void>>();
  /** Those that could not be woken lately, and when to try again; `performance.now()`. */
  private readonly failed = new Map<string, { failures: number; until: number }>();
  /** Since when timers have been looked at without a gap, and when that was last; `performance.now()`. */
  private watchingSince = 0;
  private lookedAt = 0;

  constructor(
    private readonly sagas: Sagas,
    private readonly instances: SagaInstances,
  ) {}

  onApplicationBootstrap(): void {
    this.watchingSince = this.lookedAt = performance.now();
    this.schedule();
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.round;
    await Promise.race([Promise.all(this.waking.values()), delay(farewellMs, undefined, { ref: false })]);
  }

  private schedule(): void {
    if (this.stopped) return;
    this.timer = setTimeout(() => {
      this.round = this.look()
        .catch((error: unknown) => this.logger.warn(`Cannot look for due sagas, trying again: ${messageOf(error)}`))
        .finally(() => this.schedule());
    }, timerMs);
  }

  /** Each saga that is due has a turn of its own: one that fails or hangs neither stops nor delays the others. */
  private async look(): Promise<void> {
    const resting: string[] = [];
    for (const [id, { until }] of this.failed) {
      if (until > performance.now()) resting.push(id);
      // it is not due any more, or it would have been tried by now
      else if (until < performance.now() - wakeCeilingMs) this.failed.delete(id);
    }
    const room = maxWaking - this.waking.size;
    if (room <= 0) return;
    const due = await this.instances.due(this.sagas.known, [...this.waking.keys(), ...resting], room);
    const now = performance.now();
    if (now - this.lookedAt > gapMs) this.watchingSince = now;
    this.lookedAt = now;
    for (const saga of due) {
      const work = this.wake(saga, now).finally(() => this.waking.delete(saga.id));
      this.waking.set(saga.id, work);
    }
  }

  private wake(saga: DueSaga, now: number): Promise<void> {
    // it goes on with what set the timer
    const context = new ExecutionContext('system', newId(), saga.correlationId);
    context.traceparent = saga.traceparent ?? undefined;
    return runInContext(context, () => this.wakeNow(saga, now));
  }

  private async wakeNow({ id, version, lateMs, setMs }: DueSaga, now: number): Promise<void> {
    // With the database or this process away in between, the answer that is waited for may have been unable to come.
    const late = lateMs > gapMs || setMs > now - this.watchingSince;
    try {
      await this.sagas.decide(id, { type: 'due', late }, { expectedVersion: version });
      this.failed.delete(id);
    } catch (error) {
      // The saga went on before its timer was read: nothing is due any more.
      if (error instanceof VersionMismatch) return void this.failed.delete(id);
      const failures = (this.failed.get(id)?.failures ?? 0) + 1;
      const pauseMs = Math.min(timerMs * 2 ** Math.min(failures, 20), wakeCeilingMs);
      this.failed.set(id, { failures, until: performance.now() + pauseMs });
      this.logger.warn(`Cannot wake saga ${id}, trying again in ${pauseMs} ms: ${messageOf(error)}`);
    }
  }
}

/** Full jitter: Brooker, "Exponential Backoff And Jitter", 2015. In ms. */
function backoff(attempt: number, ceiling: number): number {
  return Math.round(Math.random() * Math.min(retryBaseMs * 2 ** Math.min(attempt, 30), ceiling));
}
