import type { PoolClient } from 'pg';
import type { StoredEvent } from '../../../src/kernel/event-store/event';
import { EventStore } from '../../../src/kernel/event-store/event-store';
import { EventType } from '../../../src/kernel/event-store/event-type';
import { deriveId } from '../../../src/kernel/ids';
import { type Projection, ProjectionOf } from '../../../src/kernel/subscriptions/projection';
import { Reaction } from '../../../src/kernel/subscriptions/reaction';

export const tables = ['in_transaction', 'in_hand', 'replaying'].map((name) => `stopped.${name}`);
export const views = `create schema stopped;${tables
  .map(
    (table) =>
      `create table ${table} (nth bigserial primary key, position bigint not null, aggregate_id uuid not null);`,
  )
  .join('')}`;

type Place = 'in transaction' | 'reacting' | 'replaying';

/** Where this process stands still with something in hand. The successor knows no such places. */
export const places = {
  poisoned: false,
  stops: false,
  /** Waits there, if this process is to. */
  stand: (_place: Place): Promise<void> => Promise.resolve(),
};

abstract class Told implements Projection {
  readonly eventTypes = ['thing.happened'];
  abstract readonly table: string;

  async project(events: readonly StoredEvent[], view: PoolClient, table: string): Promise<void> {
    await view.query(`insert into ${table} (position, aggregate_id) select * from unnest($1::bigint[], $2::uuid[])`, [
      events.map((event) => event.position),
      events.map((event) => event.aggregateId),
    ]);
  }
}

/** Is stopped in its transaction, behind the checkpoint and before the view. */
@ProjectionOf('stopped.in-transaction')
class InTransaction extends Told {
  readonly table = 'stopped.in_transaction';

  override async project(events: readonly StoredEvent[], view: PoolClient, table: string): Promise<void> {
    if (events.some(({ payload }) => payload['hold'] === 'transaction')) await places.stand('in transaction');
    return super.project(events, view, table);
  }
}

/** Is stopped with events in hand, before their transaction; and the whole process with it. */
@ProjectionOf('stopped.in-hand')
class InHand extends Told {
  readonly table = 'stopped.in_hand';

  partitionOf(event: StoredEvent): string {
    if (places.stops && event.payload['hold'] === 'process') {
      places.stops = false;
      process.kill(process.pid, 'SIGSTOP');
      // the signal may take a moment to arrive
      for (const until = Date.now() + 100; Date.now() < until;);
    }
    return event.aggregateId;
  }
}

/** Is stopped while it replays a dead letter, before the transaction of that. */
@ProjectionOf('stopped.replaying')
class Replaying extends Told {
  readonly table = 'stopped.replaying';

  override async project(events: readonly StoredEvent[], view: PoolClient, table: string): Promise<void> {
    if (places.poisoned && events.some(({ payload }) => payload['poison'])) throw new Error('not while this is so');
    return super.project(events, view, table);
  }
}

@EventType('thing.happened')
class Happened {
  readonly of!: string;
  readonly k!: number;
  readonly hold?: string;
}

/** Is stopped in its handler; has an effect for each event, in a stream for each aggregate. */
@Reaction({ name: 'stopped.reacting' }, Happened)
class Reacting {
  constructor(private readonly store: EventStore) {}

  async handle({ of, k, hold }: Happened): Promise<void> {
    if (hold === 'handler') await places.stand('reacting');
    await this.store.append({ type: 'effect', id: deriveId(of, 'effect') }, [
      { type: 'effect.had', k } as { type: string },
    ]);
  }
}

export const readers = [InTransaction, InHand, Replaying, Reacting];
