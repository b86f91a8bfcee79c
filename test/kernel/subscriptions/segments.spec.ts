import type { Client } from 'pg';
import { EventType } from '../../../src/kernel/event-store/event-type';
import { Reaction } from '../../../src/kernel/subscriptions/reaction';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, connect, eventually, forgetEverything, happened, type Kernel, startKernel } from '../support';

@EventType('thing.happened')
class Happened {
  constructor(
    readonly n: number,
    readonly of: string,
  ) {}
}

@Reaction({ name: 'test.shared', segments: 4 }, Happened)
class Shared {
  readonly heard: { of: string; n: number }[] = [];
  handle({ n, of }: Happened): void {
    this.heard.push({ of, n });
  }
}

describe('a subscription with segments', () => {
  let db: TestDatabase;
  let tester: Client;
  const kernels: Kernel[] = [];

  const start = async (): Promise<Kernel> => {
    const started = await startKernel(db.url, [Shared]);
    kernels.push(started);
    return started;
  };
  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
  });
  beforeEach(() => forgetEverything(tester));
  afterEach(() => Promise.all(kernels.splice(0).map((each) => each.close())));
  afterAll(async () => {
    await tester.end();
    await db.drop();
  });

  const owners = async () =>
    (
      await tester.query<{ owner: string | null; segments: number }>(
        `select owner, count(*)::int as segments from subscriptions.checkpoints where name = 'test.shared' group by owner`,
      )
    ).rows;
  const write = async (kernel: Kernel, things: number, each: number) => {
    const all = Array.from({ length: things }, aThing);
    for (let n = 1; n <= each; n++) {
      await Promise.all(all.map((thing) => kernel.store.append(thing, [happened(n, { of: thing.id })])));
    }
    return all.map((thing) => thing.id);
  };
  const expectEachOnceInOrder = (ids: string[], each: number, heard: { of: string; n: number }[]) => {
    for (const id of ids) {
      expect(heard.filter(({ of }) => of === id).map(({ n }) => n)).toEqual(
        Array.from({ length: each }, (_, n) => n + 1),
      );
    }
  };

  it('hears every event once, each aggregate in order', async () => {
    const kernel = await start();
    const ids = await write(kernel, 30, 5);
    await kernel.subscriptions.idle();
    expectEachOnceInOrder(ids, 5, kernel.get(Shared).heard);
  });

  it('is shared by the processes that there are, and handed over when one leaves', async () => {
    const one = await start();
    expect(await owners()).toMatchObject([{ segments: 4 }]);
    const two = await start();
    await eventually(async () => (await owners()).every(({ owner, segments }) => owner !== null && segments === 2));
    const ids = await write(one, 40, 3);
    const heard = () => [...one.get(Shared).heard, ...two.get(Shared).heard];
    await eventually(() => heard().length >= 120);
    expectEachOnceInOrder(ids, 3, heard());
    expect(two.get(Shared).heard.length).toBeGreaterThan(0);
    await two.close();
    await eventually(async () => {
      const rows = await owners();
      return rows.length === 1 && rows[0]!.segments === 4 && rows[0]!.owner !== null;
    });
  });

  it('keeps the segments that it began with', async () => {
    const first = await start();
    await first.close();
    await tester.query(`delete from subscriptions.checkpoints where name = 'test.shared' and segment > 1`);
    const second = await start();
    const ids = await write(second, 20, 2);
    await second.subscriptions.idle();
    expectEachOnceInOrder(ids, 2, second.get(Shared).heard);
  });

  it('stands still while it is paused, in every process, and then goes on where it stood', async () => {
    const kernel = await start();
    await kernel.subscriptions.pause('test.shared', 'user:operator');
    await eventually(async () => (await owners()).every(({ owner }) => owner === null));
    const ids = await write(kernel, 5, 2);
    const paused = (await kernel.subscriptions.status()).filter(({ name }) => name === 'test.shared');
    expect(paused.every(({ pausedBy, lag }) => pausedBy === 'user:operator' && lag > 0)).toBe(true);
    expect(kernel.get(Shared).heard).toEqual([]);
    await kernel.subscriptions.resume('test.shared', 'user:operator');
    await eventually(() => kernel.get(Shared).heard.length === 10);
    expectEachOnceInOrder(ids, 2, kernel.get(Shared).heard);
    await expect(kernel.subscriptions.pause('test.nothing', 'user:operator')).rejects.toMatchObject({
      code: 'subscription-unknown',
    });
  });

  it('hears of what another process wrote, within the time of a poll at the latest', async () => {
    const one = await start();
    const two = await start();
    await eventually(async () => (await owners()).every(({ owner }) => owner !== null));
    const ids = await write(two, 10, 1);
    const begun = performance.now();
    await eventually(() => [...one.get(Shared).heard, ...two.get(Shared).heard].length === 10);
    expect(performance.now() - begun).toBeLessThan(2000);
    expectEachOnceInOrder(ids, 1, [...one.get(Shared).heard, ...two.get(Shared).heard]);
  });
});
