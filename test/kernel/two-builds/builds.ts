import { EventStore } from '../../../src/kernel/event-store/event-store';
import type { StoredEvent } from '../../../src/kernel/event-store/event';
import { EventType } from '../../../src/kernel/event-store/event-type';
import { FoldedView, ProjectionOf } from '../../../src/kernel/subscriptions/projection';
import { Reaction } from '../../../src/kernel/subscriptions/reaction';

/** As the migrations of the new build leave it: rows of the old build have no `sum`. */
export const views = `
  create schema views;
  create table views.things (id uuid primary key, version int not null, events int not null, sum bigint);`;

interface OldRow {
  id: string;
  version: number;
  events: number;
}

interface NewRow extends OldRow {
  sum: number;
}

abstract class Things<Row extends OldRow> extends FoldedView<Row> {
  readonly eventTypes = ['thing.happened', 'thing.noted'];

  constructor() {
    super({ table: 'views.things', key: 'id' });
  }

  protected keyOf(event: StoredEvent): string {
    return event.aggregateId;
  }

  protected counted(row: Row | undefined, { aggregateId: id, version }: StoredEvent): OldRow {
    return { id, version, events: (row?.events ?? 0) + 1 };
  }
}

@ProjectionOf('builds.things', { version: 1 })
class OldThings extends Things<OldRow> {
  protected evolve(row: OldRow | undefined, event: StoredEvent): OldRow {
    return this.counted(row, event);
  }
}

@ProjectionOf('builds.things', { version: 2 })
class NewThings extends Things<NewRow> {
  protected evolve(row: NewRow | undefined, event: StoredEvent): NewRow {
    return { ...this.counted(row, event), sum: (row?.sum ?? 0) + Number(event.payload['n']) };
  }
}

@EventType('thing.happened')
class Happened {
  constructor(
    readonly of: string,
    readonly n: number,
  ) {}
}

/** An event of the new build. */
@EventType('thing.noted')
class Noted {
  constructor(
    readonly of: string,
    readonly n: number,
  ) {}
}

/** Has one effect for each event, which names it: a stream of its own for each aggregate. */
abstract class Echo {
  constructor(private readonly store: EventStore) {}

  async handle({ of, n }: Happened | Noted): Promise<void> {
    const echo = { type: 'echo.heard', of, n };
    await this.store.append({ type: 'echo', id: of.replace(/^.{8}/, 'ec400000') }, [echo]);
  }
}

@Reaction({ name: 'builds.echo' }, Happened)
class OldEcho extends Echo {
  constructor(store: EventStore) {
    super(store);
  }
}

@Reaction({ name: 'builds.echo' }, Happened, Noted)
class NewEcho extends Echo {
  constructor(store: EventStore) {
    super(store);
  }
}

/** Two versions of one program: what each of them knows, and the events that it writes. */
export const builds = {
  old: { providers: [OldThings, OldEcho], writes: ['thing.happened'] },
  new: { providers: [NewThings, NewEcho], writes: ['thing.happened', 'thing.noted'] },
} as const;

export type Build = keyof typeof builds;
