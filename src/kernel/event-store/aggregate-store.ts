import { type CommandName, currentContext } from '../context';
import { DomainError } from '../domain-error';
import type { Announcement } from './announcement';
import type { Decider } from './decider';
import { AggregateTypeError, ContentionError, StateFormError, VersionMismatch } from './errors';
import { type DomainEvent, domainEvent, type StoredEvent } from './event';
import type { EventStore } from './event-store';
import { jsonFault } from './json-form';
import type { SnapshotOptions } from './snapshots';

export interface DecideOptions {
  /** Refuse unless the aggregate is at this version (`If-Match`). Without it a conflict is decided anew. */
  readonly expectedVersion?: number;
  /** See `AppendOptions.commandId`. Default: from the current context, the aggregate, and the command's `type`. */
  readonly commandId?: string;
}

export interface Decided<State> {
  readonly state: State;
  readonly version: number;
}

const attempts = 10;

/**
 * Up to which version the state is checked, before each append, for what JSON cannot give back. That takes a walk through
 * all of it, so later states are checked when a snapshot is taken, and in production no others.
 */
const checkedVersions = process.env['NODE_ENV'] === 'production' ? 0 : 50;

/** Load, decide, append, and once more when somebody else was quicker. A module extends it with its own decider. */
export abstract class AggregateStore<State, Command, Event extends DomainEvent> {
  protected constructor(
    private readonly decider: Decider<State, Command, Event>,
    protected readonly events: EventStore,
    /** Most aggregates stay short, and pay nothing for it. */
    private readonly snapshot: SnapshotOptions = { every: 100, stateVersion: 1 },
  ) {}

  /**
   * @throws DomainError when the state forbids the command
   * @throws VersionMismatch when the aggregate is not at `expectedVersion`
   * @throws ContentionError when other writers kept winning
   * @throws AggregateTypeError when the id belongs to an aggregate of another type, unless the decider refuses the command
   * @throws DuplicateCommandError when the command's id belongs to another command
   */
  async decide(id: string, command: Command, options: DecideOptions = {}): Promise<Decided<State>> {
    const { expectedVersion } = options;
    const what = whatOf(command);
    const commandId: CommandName =
      options.commandId === undefined ? currentContext().nextCommand(id, what) : { id: options.commandId, what };
    for (let attempt = 1; attempt <= attempts; attempt++) {
      const { state, version, mistaken } = await this.look(id);
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
        const earlier = await this.events.resultOf(commandId, id);
        if (!earlier) throw refusal;
        currentContext().saw(earlier.position);
        return { state, version: earlier.version };
      }
      if (mistaken) throw mistaken;
      if (events.length === 0) return { state, version };
      const aggregate = { type: this.decider.type, id };
      const after = events.reduce(this.decider.evolve, state);
      if (version < checkedVersions) this.assertStorable(after);
      const result = await this.events.append(aggregate, events, { expectedVersion: version, commandId });
      if (result.status === 'ok') {
        this.events.snapshots.offer(aggregate, after, version, result.version, this.snapshot);
        return { state: after, version: result.version };
      }
      // its events were not among those that the state above was folded from
      if (result.status === 'duplicate') return { state: (await this.load(id)).state, version: result.version };
    }
    throw new ContentionError(`Too many changes to ${this.decider.type} ${id} at once. Try again shortly.`);
  }

  /**
   * Its state, or the initial one when there is no such aggregate. For an id that the code chose; for one that a client
   * sent see {@link find}.
   *
   * @throws AggregateTypeError when the id belongs to an aggregate of another type
   */
  async load(id: string): Promise<Decided<State>> {
    const { mistaken, ...found } = await this.look(id);
    if (mistaken) throw mistaken;
    return found;
  }

  /** Its state, or undefined when no aggregate of this type has the id. */
  async find(id: string): Promise<Decided<State> | undefined> {
    const { version, state } = await this.look(id);
    return version === 0 ? undefined : { state, version };
  }

  /**
   * What a command would append, for a transaction of plain rows that commits it together with its own: see
   * `EventStore.transaction`, which refuses it with a VersionMismatch when the aggregate has moved on. Undefined when the
   * command changes nothing.
   *
   * @throws DomainError when the state forbids the command
   */
  async plan(id: string, command: Command): Promise<Announcement | undefined> {
    const { state, version, mistaken } = await this.look(id);
    const events = this.decider.decide(command, state);
    if (mistaken) throw mistaken;
    if (events.length === 0) return undefined;
    const commandId = currentContext().nextCommand(id, whatOf(command));
    return { aggregate: { type: this.decider.type, id }, events, expectedVersion: version, commandId };
  }

  /**
   * The version that a command of type `what` led to, if an earlier run of this request has carried it out. For a caller
   * that looks at the state before it decides, and would refuse the repeat.
   *
   * @throws DuplicateCommandError
   */
  async carriedOut(id: string, what: string): Promise<number | undefined> {
    return (await this.events.resultOf(currentContext().nextCommand(id, what), id))?.version;
  }

  /** For a request that finds the aggregate which it was about to make. @throws DuplicateCommandError when another made it */
  async assertMadeByThisRequest(id: string): Promise<void> {
    const [first] = await this.events.getEvents(id, 1, 1);
    if (first) this.events.assertSameRequest(first);
  }

  /** An id of another type is, to commands, one of nothing: a decider that refuses to act on nothing says so best. */
  private async look(id: string): Promise<Decided<State> & { readonly mistaken?: AggregateTypeError }> {
    try {
      return await this.read(id);
    } catch (error) {
      if (error instanceof AggregateTypeError) return { state: this.decider.initial, version: 0, mistaken: error };
      throw error;
    }
  }

  /** From its snapshot, if there is one, and the events behind it. */
  private async read(id: string): Promise<Decided<State>> {
    const { snapshot, events } = await this.events.load({ type: this.decider.type, id }, this.snapshot.stateVersion);
    currentContext().saw(events.at(-1)?.position ?? 0);
    const from = snapshot ? (snapshot.state as State) : this.decider.initial;
    return { state: this.fold(events, from), version: (snapshot?.version ?? 0) + events.length };
  }

  /** What it was once: after its n-th event, or as the log knew it at an instant. */
  async loadPast(id: string, until: { readonly version: number } | { readonly asOf: Date }): Promise<Decided<State>> {
    const past = (await this.events.getEvents(id)).filter((event) =>
      'version' in until ? event.version <= until.version : event.timestamp <= until.asOf,
    );
    return { state: this.fold(past, this.decider.initial), version: past.length };
  }

  /** What a command would do to an aggregate in that state; commits nothing. @throws DomainError as `decide` would */
  simulate(state: State, command: Command): { state: State; events: Event[] } {
    const events = this.decider.decide(command, state);
    return { state: events.reduce(this.decider.evolve, state), events };
  }

  private assertStorable(state: State): void {
    const fault = jsonFault(state);
    if (fault) throw new StateFormError(this.decider.type, fault);
  }

  private fold(events: readonly StoredEvent[], from: State): State {
    return events.reduce((state, event) => this.decider.evolve(state, domainEvent<Event>(event)), from);
  }
}

/** What a command does, by its `type` or, if it is no object, by itself. */
function whatOf(command: unknown): string {
  if (typeof command !== 'object' || command === null) return typeof command === 'string' ? command : typeof command;
  const { type } = command as { type?: unknown };
  return typeof type === 'string' ? type : 'decide';
}
