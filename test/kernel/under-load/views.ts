import type { Client, PoolClient } from 'pg';
import type { StoredEvent } from '../../../src/kernel/event-store/event';
import { EventStore } from '../../../src/kernel/event-store/event-store';
import { EventType } from '../../../src/kernel/event-store/event-type';
import { deriveId } from '../../../src/kernel/ids';
import { FoldedView, type Projection, ProjectionOf } from '../../../src/kernel/subscriptions/projection';
import { Reaction } from '../../../src/kernel/subscriptions/reaction';

/** Readers of the log that hide nothing: what one of them is told twice, too late or never, stays to be seen. */
export const views = `
  create schema views;
  create table views.counted (nth bigserial primary key, position bigint not null, aggregate_id uuid not null, version int not null);
  create table views.shared (nth bigserial primary key, position bigint not null, aggregate_id uuid not null, version int not null);
  create table views.folded (id uuid primary key, events int not null, version int not null, disorder int not null)`;

export const thingEvents = ['thing.happened', 'thing.noted'];

abstract class Deliveries implements Projection {
  readonly eventTypes = thingEvents;
  abstract readonly table: string;

  async project(events: readonly StoredEvent[], view: PoolClient, table: string): Promise<void> {
    await view.query(
      `insert into ${table} (position, aggregate_id, version) select * from unnest($1::bigint[], $2::uuid[], $3::int[])`,
      [events.map((e) => e.position), events.map((e) => e.aggregateId), events.map((e) => e.version)],
    );
  }
}

@ProjectionOf('views.counted')
export class Counted extends Deliveries {
  readonly table = 'views.counted';
}

@ProjectionOf('views.shared', { segments: 4 })
export class Shared extends Deliveries {
  readonly table = 'views.shared';
}

interface FoldedRow {
  id: string;
  events: number;
  version: number;
  /** How often an event came that was not the next of its aggregate. */
  disorder: number;
}

@ProjectionOf('views.folded')
export class Folded extends FoldedView<FoldedRow> {
  readonly eventTypes = thingEvents;

  constructor() {
    super({ table: 'views.folded', key: 'id' });
  }

  protected keyOf(event: StoredEvent): string {
    return event.aggregateId;
  }

  protected evolve(row: FoldedRow | undefined, { aggregateId: id, version }: StoredEvent): FoldedRow {
    const before = row ?? { id, events: 0, version: 0, disorder: 0 };
    const inOrder = version === before.version + 1;
    return { id, events: before.events + 1, version, disorder: before.disorder + (inOrder ? 0 : 1) };
  }
}

@EventType('thing.noted')
class Noted {
  constructor(
    readonly of: string,
    readonly command: string,
    readonly nth: number,
  ) {}
}

/** Has an effect of its own for each event, in a stream of its own for each aggregate. */
@Reaction({ name: 'load.echo', segments: 2 }, Noted)
export class Echo {
  constructor(private readonly store: EventStore) {}

  async handle({ of, command, nth }: Noted): Promise<void> {
    await this.store.append({ type: 'echo', id: deriveId(of, 'echo') }, [
      { type: 'echo.heard', command, nth } as { type: string },
    ]);
  }
}

export const readers = [Counted, Shared, Folded, Echo];

/** Resolves when every subscription stands at the end of the log. @returns what is behind, if nothing moves any more */
export async function delivered(tester: Client, patienceMs: number): Promise<string[]> {
  let state = '';
  for (let movedAt = Date.now(); Date.now() - movedAt < patienceMs;) {
    const { rows } = await tester.query<{ name: string; segment: number; position: number; head: number }>(
      `select name, segment, c.position::float8, head::float8
       from subscriptions.checkpoints c, (select coalesce(max(position), 0) as head from event_store.events) e
       order by 1, 2`,
    );
    const behind = rows.filter(({ position, head }) => position < head);
    const now = JSON.stringify(rows);
    if (behind.length === 0 && now === state) return [];
    if (now !== state) movedAt = Date.now();
    state = now;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return (JSON.parse(state) as { name: string; segment: number; position: number; head: number }[])
    .filter(({ position, head }) => position < head)
    .map(({ name, segment, position, head }) => `${name}#${segment} stands at ${position} of ${head}`);
}
