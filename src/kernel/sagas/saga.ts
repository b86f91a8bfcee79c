import type { Command } from '@nestjs/cqrs';

/** What a step's commands are built from, besides the saga's own data. */
export interface StepContext {
  /**
   * `sagaId/step`: the same at every attempt, and for the step's compensation, which finds by it what to take back.
   * Whoever carries the command out keeps it with the result, so that a repeat answers with the first result.
   */
  readonly key: string;
  /** Results of the completed steps, by name. */
  readonly outputs: Readonly<Record<string, unknown>>;
}

export interface Step<Data> {
  /** The step's command. Sent again after a failure: with the same `key`. */
  readonly execute: (data: Data, context: StepContext) => Command<unknown>;
  /** Takes the step back; must be safe when the step never happened, and must keep it from happening later. */
  readonly compensate?: (data: Data, context: StepContext) => Command<unknown>;
  /** The command only sets something going: the step ends when `Sagas.completeStep` or `failStep` is called. */
  readonly awaited?: boolean;
  /**
   * How long a try may take to the step's end, in ms; 15 minutes. After that its outcome is unknown: an awaited step is
   * compensated, any other is tried again. The command itself has half of `RetryOptions.deliveryMs` at most. Time during
   * which the infrastructure did not allow the step to be carried out does not count. Also how long the step waits for a
   * target that asks for patience at every try, such as an open circuit breaker.
   */
  readonly timeoutMs?: number;
  /** Tries before a retryable failure counts as final; 6. Tries at which the target asked for patience do not count. */
  readonly attempts?: number;
}

export interface NamedStep<Data> extends Step<Data> {
  readonly name: string;
  readonly awaited: boolean;
  readonly timeoutMs: number;
  readonly attempts: number;
}

export interface SagaOptions {
  /** A running saga ends under the version it began with: keep the old definition as long as one runs. */
  readonly version: number;
}

/** Steps that all happen or, as far as they did, are taken back in reverse order. Garcia-Molina & Salem, 1987. */
export class SagaDefinition<Data> {
  constructor(
    readonly name: string,
    readonly version: number,
    readonly steps: readonly NamedStep<Data>[],
  ) {}

  step(name: string, step: Step<Data>): SagaDefinition<Data> {
    if (this.steps.some((other) => other.name === name)) throw new Error(`${this.name} has two steps ${name}`);
    const named = { awaited: false, timeoutMs: 15 * 60_000, attempts: 6, ...step, name };
    return new SagaDefinition(this.name, this.version, [...this.steps, named]);
  }
}

/** `saga<Data>('name', { version: 1 }).step('first', { execute, compensate }).step(…)` */
export function saga<Data>(name: string, { version }: SagaOptions): SagaDefinition<Data> {
  return new SagaDefinition<Data>(name, version, []);
}

/** How a saga that was waited for ended, other than well. */
export class SagaExecutionError extends Error {
  override readonly name = 'SagaExecutionError';

  constructor(
    /** The step that failed; what was done before it has been taken back. */
    readonly step: string,
    override readonly cause: SagaFailure,
  ) {
    super(`Step ${step} failed: ${cause.message}`);
  }
}

/** Why a step failed, as events record it and customers read it: see saga-failure.ts for what may be in it. */
export interface SagaFailure {
  readonly code: string;
  readonly message: string;
}
