import type { Client } from 'pg';
import type { StoredEvent } from '../../../src/kernel/event-store/event';
import { EventType } from '../../../src/kernel/event-store/event-type';
import { FoldedView, ProjectionOf } from '../../../src/kernel/subscriptions/projection';
import { Reaction } from '../../../src/kernel/subscriptions/reaction';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, connect, eventually, forgetEverything, happened, type Kernel, startKernel } from '../support';

interface SumRow {
  id: string;
  events: number;
  sum: number;
}

@ProjectionOf('test.sums')
class Sums extends FoldedView<SumRow> {
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
}

/** The same events, another view of them: it came with a new release. */
@ProjectionOf('test.sums', { version: 2 })
class DoubledSums extends Sums {
  protected override evolve(row: SumRow | undefined, event: StoredEvent): SumRow {
    const { sum, ...rest } = super.evolve(row && { ...row, sum: row.sum / 2 }, event);
    return { ...rest, sum: sum * 2 };
  }
}

@EventType('thing.happened')
class Happened {
  constructor(readonly n: number) {}
}

const effects: number[] = [];
@Reaction({ name: 'test.effects' }, Happened)
class Effects {
  handle({ n }: Happened): void {
    effects.push(n);
  }
}

describe('a rebuild', () => {
  let db: TestDatabase;
  let tester: Client;
  let kernel: Kernel;
  const kernels: Kernel[] = [];

  const start = async (sums: typeof Sums = Sums): Promise<Kernel> => {
    const started = await startKernel(db.url, [sums, Effects]);
    kernels.push(started);
    return started;
  };
  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
    await tester.query(
      'create schema test_view; create table test_view.sums (id uuid primary key, events int not null, sum int not null)',
    );
  });
  beforeEach(async () => {
    await forgetEverything(tester);
    await tester.query('truncate test_view.sums');
    effects.length = 0;
    kernel = await start();
  });
  afterEach(() => Promise.all(kernels.splice(0).map((each) => each.close())));
  afterAll(async () => {
    await tester.end();
    await db.drop();
  });

  const view = async () => (await tester.query<SumRow>('select * from test_view.sums order by id')).rows;
  const fold = async (factor = 1) =>
    (
      await tester.query<SumRow>(
        `select aggregate_id as id, count(*)::int as events, (sum((payload ->> 'n')::int) * $1)::int as sum
         from event_store.events where event_type = 'thing.happened' group by 1 order by 1`,
        [factor],
      )
    ).rows;
  const rebuilding = async (of = kernel) =>
    (await of.subscriptions.status()).find(({ name }) => name === 'test.sums/rebuild');
  const rebuilt = (of = kernel) => eventually(async () => !(await rebuilding(of)), 25_000);

  it('makes the view anew from the log, whatever had become of it', async () => {
    const thing = aThing();
    await kernel.store.append(thing, [happened(1), happened(2)]);
    await kernel.subscriptions.idle();
    await tester.query('update test_view.sums set sum = 99');
    await kernel.subscriptions.rebuild('test.sums');
    await rebuilt();
    expect(await view()).toEqual([{ id: thing.id, events: 2, sum: 3 }]);
  });

  it('leaves a view that goes on where it stood, neither missing nor repeating anything', async () => {
    await kernel.store.append(aThing(), [happened(1)]);
    await kernel.subscriptions.rebuild('test.sums');
    await rebuilt();
    await kernel.store.append(aThing(), [happened(2)]);
    await kernel.subscriptions.idle();
    expect(await view()).toEqual(await fold());
  });

  it('under load shows readers no gap: what was visible once stays so, and in the end it is the fold of the log', async () => {
    const thing = aThing();
    let writing = true;
    let acknowledged = 0;
    let shown = 0;
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      for (let n = 1; writing; n++) {
        const { position } = await kernel.store.append(writer === 0 ? thing : aThing(), [happened(n)]);
        if (writer > 0) continue;
        acknowledged = n;
        expect(await kernel.subscriptions.projected(position, 20_000)).toBe(true);
        // a reader who was told so sees it, before, during and after the swap
        const { rows } = await tester.query<SumRow>('select * from test_view.sums where id = $1', [thing.id]);
        shown = rows[0]?.events ?? 0;
        expect(shown).toBeGreaterThanOrEqual(acknowledged);
      }
    });
    await eventually(() => acknowledged > 20);
    for (let round = 0; round < 3; round++) {
      await kernel.subscriptions.rebuild('test.sums');
      await rebuilt();
    }
    writing = false;
    await Promise.all(writers);
    await kernel.subscriptions.idle();
    expect(await view()).toEqual(await fold());
  }, 60_000);

  it('repeats no side effect', async () => {
    await kernel.store.append(aThing(), [happened(1), happened(2)]);
    await kernel.subscriptions.idle();
    await kernel.subscriptions.rebuild('test.sums');
    await rebuilt();
    expect(effects).toEqual([1, 2]);
    await expect(kernel.subscriptions.rebuild('test.effects')).rejects.toMatchObject({ code: 'not-a-projection' });
  });

  it('is made at the start when the code makes another view of the same events', async () => {
    await kernel.store.append(aThing(), [happened(1), happened(2)]);
    await kernel.subscriptions.idle();
    await kernel.close();
    const newer = await start(DoubledSums);
    await rebuilt(newer);
    await newer.store.append(aThing(), [happened(5)]);
    await newer.subscriptions.idle();
    expect(await view()).toEqual(await fold(2));
  });

  it('goes on after a restart where it was', async () => {
    await kernel.store.append(aThing(), [happened(1)]);
    await kernel.subscriptions.idle();
    await kernel.subscriptions.pause('test.sums', 'user:operator');
    await kernel.subscriptions.rebuild('test.sums');
    await kernel.close();
    const next = await start();
    await rebuilt(next);
    expect(await view()).toEqual(await fold());
  });

  it('of what there is not is refused', async () => {
    await expect(kernel.subscriptions.rebuild('test.nothing')).rejects.toMatchObject({ code: 'subscription-unknown' });
  });
});
