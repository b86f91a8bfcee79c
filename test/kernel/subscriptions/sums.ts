import type { Client } from 'pg';
import type { StoredEvent } from '../../../src/kernel/event-store/event';
import { FoldedView, ProjectionOf } from '../../../src/kernel/subscriptions/projection';
import type { SubscriptionStatus } from '../../../src/kernel/subscriptions/subscriptions';
import { eventually, type Kernel } from '../support';

export interface SumRow {
  id: string;
  events: number;
  sum: number;
}

export const sumsTable = `
  create schema test_view;
  create table test_view.sums (id uuid primary key, events int not null, sum int not null)`;

/** What the test wants to happen with the events of a rebuild. */
export const rebuildOfSums: { before: (events: readonly StoredEvent[]) => unknown } = { before: () => undefined };

@ProjectionOf('test.sums')
export class Sums extends FoldedView<SumRow> {
  readonly eventTypes = ['thing.happened'];
  constructor() {
    super({ table: 'test_view.sums', key: 'id' });
  }
  protected keyOf(event: StoredEvent): string {
    return event.aggregateId;
  }
  protected evolve(row: SumRow | undefined, event: StoredEvent): SumRow {
    const n = event.payload['n'] as number;
    return { id: event.aggregateId, events: (row?.events ?? 0) + 1, sum: (row?.sum ?? 0) + n };
  }
  override async project(...[events, view, table]: Parameters<FoldedView<SumRow>['project']>): Promise<void> {
    if (table !== this.table) await rebuildOfSums.before(events);
    return super.project(events, view, table);
  }
}

/** The same events, another view of them: it came with a new release. */
@ProjectionOf('test.sums', { version: 2 })
export class DoubledSums extends Sums {
  protected override evolve(row: SumRow | undefined, event: StoredEvent): SumRow {
    const { sum, ...rest } = super.evolve(row && { ...row, sum: row.sum / 2 }, event);
    return { ...rest, sum: sum * 2 };
  }
}

export async function sums(tester: Client): Promise<SumRow[]> {
  return (await tester.query<SumRow>('select * from test_view.sums order by id')).rows;
}

/** What the log makes of it. */
export async function foldedSums(tester: Client, factor = 1): Promise<SumRow[]> {
  const { rows } = await tester.query<SumRow>(
    `select aggregate_id as id, count(*)::int as events, (sum((payload ->> 'n')::int) * $1)::int as sum
     from event_store.events where event_type = 'thing.happened' group by 1 order by 1`,
    [factor],
  );
  return rows;
}

/** Status of the rebuild while there is one. */
export async function rebuilding(kernel: Kernel): Promise<SubscriptionStatus | undefined> {
  return (await kernel.subscriptions.status()).find(({ name }) => name === 'test.sums/rebuild');
}

export const rebuilt = (kernel: Kernel) => eventually(async () => !(await rebuilding(kernel)), 25_000);
