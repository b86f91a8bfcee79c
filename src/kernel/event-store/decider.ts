import type { DomainEvent } from './event';

/**
 * An aggregate as two pure functions (Chassaing, "Functional Event Sourcing Decider").
 *
 * `decide` reads no clock and does no I/O: what it needs comes in with the command. It throws a `DomainError` when
 * the state forbids the command, and returns no events when the command has been carried out already.
 * `evolve` never throws and never validates: what is in the log happened.
 */
export interface Decider<State, Command, Event extends DomainEvent> {
  /** The stored name of the aggregate type. */
  readonly type: string;
  readonly initial: State;
  readonly decide: (command: Command, state: State) => Event[];
  readonly evolve: (state: State, event: Event) => State;
}
