import { type BeforeApplicationShutdown, Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { CommandBus, type Command, type IEventHandler } from '@nestjs/cqrs';
import { currentContext, ExecutionContext, runInContext } from '../context';
import { DomainError } from '../domain-error';
import { VersionMismatch } from '../event-store/errors';
import { EventType } from '../event-store/event-type';
import { idOf } from '../ids';
import { retryAfterMs } from '../resilience/retry-after';
import { Reaction } from '../subscriptions/reaction';
import { failureOf } from './saga-failure';
import { SagaInstances } from './saga-instances';
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

/**
 * Carries out what the saga's stream says is begun, and writes the result into it. Being fed from the log is what
 * makes it durable: a step begun before a crash is delivered again after it, with the same key.
 */
@Reaction({ name: 'sagas.run' }, StepStarted, CompensationStarted)
export class SagaRunner implements IEventHandler<StepStarted | CompensationStarted> {
  private readonly logger = new Logger('Sagas');

  constructor(
    private readonly sagas: Sagas,
    private readonly commands: CommandBus,
  ) {}

  async handle(event: StepStarted | CompensationStarted): Promise<void> {
    const id = this.sagas.idOf({ name: event.saga }, event.subject);
    const { state } = await this.sagas.load(id);
    // Redelivery of an earlier attempt; its outcome is already in the stream.
    if (!('current' in state) || state.current.waiting) return;
    if (state.current.step !== event.step || state.current.attempt !== event.attempt) return;
    if (state.status === 'running' && event instanceof StepStarted) await this.execute(id, state);
    if (state.status === 'compensating' && event instanceof CompensationStarted) await this.compensate(id, state);
  }

  private async execute(id: string, state: Extract<SagaState, { status: 'running' }>): Promise<void> {
    const { step, attempt } = state.current;
    const definition = this.stepOf(state, step);
    const key = `${id}/${step}`;
    let output: unknown;
    try {
      output = await this.send(key, definition.execute(state.data as never, { key, outputs: state.outputs }));
    } catch (error) {
      this.report('Step', state, error);
      const failure = failureOf(error);
      const retryInMs = retryAfterMs(error) ?? backoff(attempt, retryCeilingMs);
      await this.sagas.decide(
        id,
        error instanceof DomainError
          ? // A refusal speaks for this attempt; an earlier one may have taken effect all the same.
            { type: 'fail-step', step, error: failure, outcome: attempt > 1 ? 'unknown' : 'final' }
          : { type: 'try-again', step, error: failure, retryInMs, patience: patienceFor(error) },
      );
      return;
    }
    if (!definition.awaited) await this.sagas.decide(id, { type: 'complete-step', step, output });
  }

  private async compensate(
    id: string,
    state: Extract<SagaState, { status: 'compensating' | 'parked' }>,
  ): Promise<void> {
    const { step, attempt } = state.current;
    const key = `${id}/${step}`;
    try {
      const command = this.stepOf(state, step).compensate?.(state.data as never, { key, outputs: state.outputs });
      if (command) await this.send(`${key}/undo`, command);
    } catch (error) {
      this.report('Compensation of step', state, error);
      // A refusal will not change when it is asked again: a person has to look.
      const retryInMs =
        error instanceof DomainError ? undefined : (retryAfterMs(error) ?? backoff(attempt, compensationCeilingMs));
      const patience = patienceFor(error);
      await this.sagas.decide(id, { type: 'fail-compensation', step, error: failureOf(error), retryInMs, patience });
      return;
    }
    await this.sagas.decide(id, { type: 'complete-compensation', step });
  }

  private stepOf(state: Exclude<SagaState, { status: 'none' }>, name: string) {
    const definition = this.sagas.definition(state.saga, state.definitionVersion);
    const step = definition?.steps.find((each) => each.name === name);
    if (!step) throw new Error(`No process here knows step ${name} of saga ${state.saga} v${state.definitionVersion}`);
    return step;
  }

  /** To the log: the events do not have the text of an error that is no refusal. Of a long wait only the beginning. */
  private report(what: string, state: Extract<SagaState, { current: unknown }>, error: unknown): void {
    if (error instanceof DomainError) return;
    const { step, attempt, waitingSince } = state.current;
    const level = waitingSince !== undefined && patienceFor(error) ? 'debug' : 'warn';
    const text = error instanceof Error ? error.stack : String(error);
    const trace = currentContext().correlationId;
    this.logger[level](
      `${what} ${step} of ${state.saga} ${state.subject} failed (try ${attempt}), trace ${trace}: ${text}`,
    );
  }

  /** Ids made while the command runs derive from the step's key, not from the attempt: a repeat finds them. */
  private send(key: string, command: Command<unknown>): Promise<unknown> {
    const { actor, correlationId, causationId } = currentContext();
    const context = new ExecutionContext(actor, idOf(key), correlationId, causationId);
    return runInContext(context, () => this.commands.execute(command));
  }
}

/** Wakes sagas whose next try or deadline has come. */
@Injectable()
export class SagaTimers implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger('SagaTimers');
  private timer: NodeJS.Timeout | undefined;
  private round: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(
    private readonly sagas: Sagas,
    private readonly instances: SagaInstances,
  ) {}

  onApplicationBootstrap(): void {
    this.schedule();
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.round;
  }

  private schedule(): void {
    if (this.stopped) return;
    this.timer = setTimeout(() => {
      this.round = this.wake()
        .catch((error: Error) => this.logger.warn(`Cannot look for due sagas, trying again: ${error.message}`))
        .finally(() => this.schedule());
    }, timerMs);
  }

  private async wake(): Promise<void> {
    const due = await this.instances.due(100);
    await Promise.all(
      due.map(({ id, version }) => this.sagas.decide(id, { type: 'due' }, { expectedVersion: version }).catch(moved)),
    );
  }
}

/** The saga went on before its timer was read: nothing is due any more. */
function moved(error: unknown): void {
  if (!(error instanceof VersionMismatch)) throw error;
}

/** Full jitter: Brooker, "Exponential Backoff And Jitter", 2015. In ms. */
function backoff(attempt: number, ceiling: number): number {
  return Math.round(Math.random() * Math.min(retryBaseMs * 2 ** Math.min(attempt, 30), ceiling));
}

/** Of an error that asks for patience, such as that of an open circuit breaker: the try does not count. */
function patienceFor(error: unknown): Patience | undefined {
  return retryAfterMs(error) === undefined ? undefined : { at: new Date().toISOString() };
}
