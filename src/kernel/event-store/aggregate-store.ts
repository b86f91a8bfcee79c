import { currentContext } from '../context';
import { DomainError } from '../domain-error';
import type { Decider } from './decider';
import { ContentionError, VersionMismatch } from './errors';
import { type DomainEvent, domainEvent } from './event';
import type { EventStore } from './event-store';

export interface DecideOptions {
  /** Refuse unless the aggregate is at this version (`If-Match`). Without it a conflict is decided anew. */
  readonly expectedVersion?: number;
  /** See `AppendOptions.commandId`. */
  readonly commandId?: string;
}

export interface Decided<State> {
  readonly state: State;
  readonly version: number;
}

const attempts = 10;

/** Load, decide, append, and once more when somebody else was quicker. A module extends it with its own decider. */
export abstract class AggregateStore<State, Command, Event extends DomainEvent> {
  protected constructor(
    private readonly decider: Decider<State, Command, Event>,
    protected readonly events: EventStore,
  ) {}

  /**
   * @throws DomainError when the state forbids the command
   * @throws VersionMismatch when the aggregate is not at `expectedVersion`
   * @throws ContentionError when other writers kept winning
   */
  async decide(id: string, command: Command, options: DecideOptions = {}): Promise<Decided<State>> {
    const { expectedVersion, commandId = currentContext().nextId(id) } = options;
    for (let attempt = 1; attempt <= attempts; attempt++) {
      const { state, version } = await this.load(id);
      const isStale = expectedVersion !== undefined && expectedVersion !== version;
      let events: Event[];
      try {
        events = this.decider.decide(command, state);
        if (isStale) throw new VersionMismatch(expectedVersion, version);
      } catch (error) {
        // Whoever is not to know of it must not learn its version either; to others the mismatch says more.
        const isUnknown = error instanceof DomainError && error.kind === 'not-found';
        const refusal = isStale && !isUnknown ? new VersionMismatch(expectedVersion, version) : error;
        // A repeat of what was carried out before the state moved on is no error.
        const earlier = await this.events.resultOf(commandId);
        if (!earlier) throw refusal;
        currentContext().saw(earlier.position);
        return { state, version: earlier.version };
      }
      if (events.length === 0) return { state, version };
      const aggregate = { type: this.decider.type, id };
      const result = await this.events.append(aggregate, events, { expectedVersion: version, commandId });
      if (result.status === 'ok') return { state: events.reduce(this.decider.evolve, state), version: result.version };
      // its events were not among those that the state above was folded from
      if (result.status === 'duplicate') return { state: (await this.load(id)).state, version: result.version };
    }
    throw new ContentionError(`Too many changes to ${this.decider.type} ${id} at once. Try again shortly.`);
  }

  async load(id: string): Promise<Decided<State>> {
    const stored = await this.events.getEvents(id);
    if (stored[0] && stored[0].aggregateType !== this.decider.type) {
      return { state: this.decider.initial, version: 0 };
    }
    currentContext().saw(stored.at(-1)?.position ?? 0);
    const state = stored.reduce(
      (state, event) => this.decider.evolve(state, domainEvent<Event>(event)),
      this.decider.initial,
    );
    return { state, version: stored.length };
  }
}
