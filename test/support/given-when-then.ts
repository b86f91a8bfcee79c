import { DomainError } from '../../src/kernel/domain-error';
import type { Decider } from '../../src/kernel/event-store/decider';
import { type DomainEvent, wireForm } from '../../src/kernel/event-store/event';

/**
 * `given(decider, ...past).when(command).then(...events)`, or `.thenRefused(code)`, or `.thenNothing()`.
 *
 * Events reach the decider as they come back from the log: as JSON whose members jsonb has put in an order of its own.
 */
export function given<State, Command, Event extends DomainEvent>(
  decider: Decider<State, Command, Event>,
  ...past: Event[]
) {
  const state = fold(decider, past);
  return {
    when(command: Command) {
      const decide = () => decider.decide(command, state).map(asStored);
      return {
        then(...events: [Event, ...Event[]]): void {
          expect(decide()).toEqual(events.map(asStored));
        },
        thenNothing(): void {
          expect(decide()).toEqual([]);
        },
        thenRefused(code: string): void {
          let refusal: unknown;
          try {
            decide();
          } catch (error) {
            refusal = error;
          }
          expect(refusal).toBeInstanceOf(DomainError);
          expect((refusal as DomainError).code).toBe(code);
        },
      };
    },
  };
}

export function fold<State, Command, Event extends DomainEvent>(
  decider: Decider<State, Command, Event>,
  events: readonly Event[],
): State {
  return events.map(asStored).reduce(decider.evolve, decider.initial);
}

/** What comes back of an event that was appended. */
export function asStored<Event extends DomainEvent>(event: Event): Event {
  return JSON.parse(wireForm(event), (_, value: unknown) => jsonbOrder(value)) as Event;
}

/** jsonb keeps the members of an object by length of their name, then by its bytes. */
function jsonbOrder(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const members = Object.entries(value).sort(([a], [b]) => a.length - b.length || (a < b ? -1 : 1));
  return Object.fromEntries(members);
}
