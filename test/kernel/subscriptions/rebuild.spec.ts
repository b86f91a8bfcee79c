import type { Client } from 'pg';
import { EventType } from '../../../src/kernel/event-store/event-type';
import { Reaction } from '../../../src/kernel/subscriptions/reaction';
import { createDatabase, type TestDatabase } from '../../support/database';
import {
  aThing,
  connect,
  eventually,
  forgetEverything,
  gate,
  happened,
  openGates,
  type Kernel,
  startKernel,
} from '../support';
import { checkpoint } from './applied';
import {
  DoubledSums,
  foldedSums,
  rebuilding,
  rebuilt,
  rebuildOfSums,
  Sums,
  sums,
  sumsTable,
  type SumRow,
} from './sums';

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

  const start = async (view: typeof Sums = Sums): Promise<Kernel> => {
    const started = await startKernel(db.url, [view, Effects]);
    kernels.push(started);
    return started;
  };
  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
    await tester.query(sumsTable);
  });
  beforeEach(async () => {
    await forgetEverything(tester);
    await tester.query('truncate test_view.sums');
    effects.length = 0;
    rebuildOfSums.before = () => undefined;
    kernel = await start();
  });
  afterEach(async () => {
    openGates();
    await Promise.all(kernels.splice(0).map((each) => each.close()));
  });
  afterAll(async () => {
    await tester.end();
    await db.drop();
  });

  const versions = async () => {
    const { rows } = await tester.query(
      `select name, version from subscriptions.checkpoints where name like 'test.sums%' order by name`,
    );
    return rows;
  };

  it('makes the view anew from the log, whatever had become of it', async () => {
    const thing = aThing();
    await kernel.store.append(thing, [happened(1), happened(2)]);
    await kernel.subscriptions.idle();
    await tester.query('update test_view.sums set sum = 99');
    await kernel.subscriptions.rebuild('test.sums');
    await rebuilt(kernel);
    expect(await sums(tester)).toEqual([{ id: thing.id, events: 2, sum: 3 }]);
  });

  it('leaves a view that goes on where it stood, neither missing nor repeating anything', async () => {
    await kernel.store.append(aThing(), [happened(1)]);
    await kernel.subscriptions.rebuild('test.sums');
    await rebuilt(kernel);
    await kernel.store.append(aThing(), [happened(2)]);
    await kernel.subscriptions.idle();
    expect(await sums(tester)).toEqual(await foldedSums(tester));
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
      await rebuilt(kernel);
    }
    writing = false;
    await Promise.all(writers);
    await kernel.subscriptions.idle();
    expect(await sums(tester)).toEqual(await foldedSums(tester));
  }, 60_000);

  it('repeats no side effect', async () => {
    await kernel.store.append(aThing(), [happened(1), happened(2)]);
    await kernel.subscriptions.idle();
    await kernel.subscriptions.rebuild('test.sums');
    await rebuilt(kernel);
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
    expect(await sums(tester)).toEqual(await foldedSums(tester, 2));
  });

  it('leaves the live view to the worker that has it, when nothing but the table changes', async () => {
    await kernel.store.append(aThing(), [happened(1)]);
    await kernel.subscriptions.idle();
    const before = await checkpoint(tester, 'test.sums');
    await kernel.subscriptions.rebuild('test.sums');
    await rebuilt(kernel);
    await kernel.store.append(aThing(), [happened(2)]);
    await kernel.subscriptions.idle();
    expect(await sums(tester)).toEqual(await foldedSums(tester));
    expect((await checkpoint(tester, 'test.sums')).epoch).toBe(before.epoch);
  });

  it('by a process of an older release makes the version that is live, which waits for a newer process', async () => {
    await kernel.store.append(aThing(), [happened(1), happened(2)]);
    await kernel.close();
    const newer = await start(DoubledSums);
    await rebuilt(newer);
    await newer.close();

    const older = await start();
    await older.subscriptions.rebuild('test.sums');
    const { rows } = await tester.query(
      `select version from subscriptions.checkpoints where name = 'test.sums/rebuild'`,
    );
    expect(rows).toEqual([{ version: 2 }]);
    await older.close();
    const next = await start(DoubledSums);
    await next.subscriptions.rebuild('test.sums');
    await rebuilt(next);
    expect(await sums(tester)).toEqual(await foldedSums(tester, 2));
    expect(await versions()).toEqual([{ name: 'test.sums', version: 2 }]);
  });

  it('of an older version, under way when a newer release starts, begins anew in the newer version', async () => {
    await kernel.store.append(aThing(), [happened(1)]);
    await kernel.subscriptions.idle();
    const held = gate();
    rebuildOfSums.before = () => held.opened;
    await kernel.subscriptions.rebuild('test.sums');
    await eventually(async () => (await rebuilding(kernel))?.owner);
    const newer = await start(DoubledSums);
    expect(await versions()).toContainEqual({ name: 'test.sums/rebuild', version: 2 });
    const closing = kernel.close();
    held.open();
    await closing;
    await rebuilt(newer);
    expect(await sums(tester)).toEqual(await foldedSums(tester, 2));
    expect(await versions()).toEqual([{ name: 'test.sums', version: 2 }]);
  });

  it('goes on after a restart where it was', async () => {
    await kernel.store.append(aThing(), [happened(1)]);
    await kernel.subscriptions.idle();
    await kernel.subscriptions.pause('test.sums', 'user:operator');
    await kernel.subscriptions.rebuild('test.sums');
    await kernel.close();
    const next = await start();
    await rebuilt(next);
    expect(await sums(tester)).toEqual(await foldedSums(tester));
  });

  it('after a failover that lost the end of the log ends where the log does', async () => {
    await kernel.store.append(aThing(), [happened(1), happened(2)]);
    await kernel.subscriptions.idle();
    await kernel.close();
    await tester.query(`update subscriptions.checkpoints set position = 7 where name = 'test.sums'`);
    const next = await start();
    await next.subscriptions.rebuild('test.sums');
    await rebuilt(next);
    expect(await sums(tester)).toEqual(await foldedSums(tester));
    expect((await checkpoint(tester, 'test.sums')).position).toBe(2);
  });

  it('of what there is not is refused', async () => {
    await expect(kernel.subscriptions.rebuild('test.nothing')).rejects.toMatchObject({ code: 'subscription-unknown' });
  });
});
