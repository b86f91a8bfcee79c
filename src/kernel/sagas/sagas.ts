import { Injectable } from '@nestjs/common';
import { currentContext } from '../context';
import { DomainError } from '../domain-error';
import { AggregateStore, type Decided } from '../event-store/aggregate-store';
import { EventStore } from '../event-store/event-store';
import { deriveId } from '../ids';
import { Subscriptions } from '../subscriptions/subscriptions';
import { type SagaDefinition, SagaExecutionError, type SagaFailure } from './saga';
import type { SagaVersion } from './saga-instances';
import { type Resolution, type SagaCommand, type SagaEvent, type SagaState, sagaDecider } from './saga-stream';

/**
 * This process has no definition of that name and version. Another one may have it, or a later version of the app: what
 * needs it waits.
 */
export class UnknownDefinitionError extends Error {
  override readonly name = 'UnknownDefinitionError';
  readonly retryAfterMs = 1000;

  constructor(saga: string, version: number) {
    super(`This process does not know saga ${saga} in version ${version}`);
  }
}

/** Sagas by their definition and what they are about: one a subject, such as one fulfilment an order. */
@Injectable()
export class Sagas extends AggregateStore<SagaState, SagaCommand, SagaEvent> {
  private readonly definitions: Map<string, SagaDefinition<never>>;

  constructor(
    events: EventStore,
    private readonly subscriptions: Subscriptions,
  ) {
    const definitions = new Map<string, SagaDefinition<never>>();
    super(
      sagaDecider((name, version) => {
        const definition = definitions.get(`${name}/${version}`);
        if (!definition) throw new UnknownDefinitionError(name, version);
        return definition;
      }),
      events,
      // Version 2: failures have no technical text any more, see saga-failure.ts. Version 3: `takenBack`.
      { every: 100, stateVersion: 3 },
    );
    this.definitions = definitions;
  }

  /** Makes a definition known; needed in every process that may run it, for as long as one of its sagas runs. */
  register<Data>(definition: SagaDefinition<Data>): void {
    this.definitions.set(`${definition.name}/${definition.version}`, definition);
  }

  definition(name: string, version: number): SagaDefinition<never> | undefined {
    return this.definitions.get(`${name}/${version}`);
  }

  /** The definitions that this process can run. */
  get known(): readonly SagaVersion[] {
    return [...this.definitions.values()];
  }

  idOf(definition: { name: string }, subject: string): string {
    return deriveId(subject, definition.name);
  }

  /** Starts the saga about `subject`, unless it has begun already. */
  async start<Data>(definition: SagaDefinition<Data>, subject: string, data: Data): Promise<void> {
    const command: SagaCommand = { type: 'start', definition: definition, subject, data };
    await this.decide(this.idOf(definition, subject), command);
  }

  /** The answer to an awaited step; without effect when the step is not under way any more. */
  async completeStep(definition: { name: string }, subject: string, step: string, output: unknown): Promise<void> {
    await this.decide(this.idOf(definition, subject), { type: 'complete-step', step, output });
  }

  /** The answer to an awaited step that it did not happen: what was done before is taken back. */
  async failStep(definition: { name: string }, subject: string, step: string, error: SagaFailure): Promise<void> {
    await this.decide(this.idOf(definition, subject), { type: 'fail-step', step, error, outcome: 'final' });
  }

  /** Takes back what was done, of a running saga as of a completed one. */
  async cancel(definition: { name: string }, subject: string, reason: string): Promise<void> {
    await this.decide(this.idOf(definition, subject), { type: 'cancel', reason });
  }

  /** Keeps what was done, and goes forward again; without effect once a part of it was taken back, or at the end. */
  async rejectCancellation(definition: { name: string }, subject: string, reason: string): Promise<void> {
    try {
      const by = currentContext().actor;
      await this.decide(this.idOf(definition, subject), { type: 'resolve', resolution: 'reject', by, reason });
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
    }
  }

  resolve(id: string, resolution: Resolution, by: string, reason: string): Promise<Decided<SagaState>> {
    return this.decide(id, { type: 'resolve', resolution, by, reason });
  }

  /**
   * Waits for the saga's end, wherever it runs. The saga goes on whether or not anybody waits.
   *
   * @returns outputs of the steps by name, or undefined when it has not ended after `timeoutMs`
   * @throws SagaExecutionError when it failed and was compensated
   */
  async outcome(
    definition: { name: string },
    subject: string,
    timeoutMs: number,
  ): Promise<Readonly<Record<string, unknown>> | undefined> {
    const id = this.idOf(definition, subject);
    const known = new AbortController();
    const ended = this.subscriptions.next(
      (event) => event.aggregateId === id && /^saga\.(completed|compensated)$/.test(event.eventType),
      timeoutMs,
      known.signal,
    );
    let end: SagaState | undefined;
    try {
      // it may have ended before anybody listened
      const { state } = await this.load(id);
      end = isEnd(state) ? state : (await ended) && (await this.load(id)).state;
    } finally {
      known.abort();
    }
    if (end?.status === 'compensated') throw new SagaExecutionError(end.failed.step, end.failed.error);
    return end?.status === 'completed' ? end.outputs : undefined;
  }
}

function isEnd(state: SagaState): boolean {
  return state.status === 'completed' || state.status === 'compensated';
}
