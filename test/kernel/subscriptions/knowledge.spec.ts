import type { Client } from 'pg';
import { EventType } from '../../../src/kernel/event-store/event-type';
import { ProjectionOf } from '../../../src/kernel/subscriptions/projection';
import { Reaction } from '../../../src/kernel/subscriptions/reaction';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, connect, eventually, forgetEverything, happened, type Kernel, startKernel } from '../support';
import { Applied, appliedTable } from './applied';

@EventType('thing.happened')
class Happened {
  readonly n!: number;
}

@EventType('thing.moved')
class Moved {
  readonly n!: number;
}

class Recorder {
  readonly heard: number[] = [];
  handle({ n }: Happened): void {
    this.heard.push(n);
  }
}

@Reaction({ name: 'test.heard' }, Happened)
class Narrow extends Recorder {}

@Reaction({ name: 'test.heard' }, Happened, Moved)
class Wide extends Recorder {}

@Reaction({ name: 'test.heard', version: 2 }, Happened)
class NarrowOnPurpose extends Recorder {}

@ProjectionOf('test.applied', { version: 2 })
class AppliedInNewShape extends Applied {}

const moved = (n: number) => ({ type: 'thing.moved', n });

describe('processes of two versions of the program', () => {
  let db: TestDatabase;
  let tester: Client;
  const kernels: Kernel[] = [];

  const start = async (...providers: (new () => object)[]): Promise<Kernel> => {
    const started = await startKernel(db.url, providers);
    kernels.push(started);
    return started;
  };
  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
    await tester.query(appliedTable);
  });
  beforeEach(() => forgetEverything(tester));
  afterEach(() => Promise.all(kernels.splice(0).map((each) => each.close())));
  afterAll(async () => {
    await tester.end();
    await db.drop();
  });

  const ownerOf = async (name: string) =>
    (
      await tester.query<{ owner: string | null }>('select owner from subscriptions.checkpoints where name = $1', [
        name,
      ])
    ).rows[0]?.owner;
  /** Several rounds in which a process could have claimed it. */
  const isLeftAlone = async (name: string) => {
    const end = Date.now() + 2500;
    while (Date.now() < end) {
      expect(await ownerOf(name)).toBeNull();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };

  it('leave a reaction to the one that handles more types of events, which skips none', async () => {
    const older = await start(Narrow);
    await older.store.append(aThing(), [happened(1)]);
    await older.subscriptions.idle();
    const newer = await start(Wide);
    for (let n = 2; n <= 20; n++) await older.store.append(aThing(), [n % 2 ? happened(n) : moved(n)]);
    const all = Array.from({ length: 20 }, (_, n) => n + 1);
    await eventually(() => {
      const heard = [...older.get(Narrow).heard, ...newer.get(Wide).heard];
      return all.every((n) => heard.includes(n));
    });
    expect(newer.get(Wide).heard).toEqual(expect.arrayContaining(all.filter((n) => n > 1 && n % 2 === 0)));
  });

  it('leave a reaction alone when only older ones are left', async () => {
    await (await start(Wide)).close();
    await start(Narrow);
    await isLeftAlone('test.heard');
  });

  it('agree that a type is no longer handled when the version of the reaction says so', async () => {
    await (await start(Wide)).close();
    const newer = await start(NarrowOnPurpose);
    await newer.store.append(aThing(), [happened(1)]);
    await newer.subscriptions.idle();
    expect(newer.get(NarrowOnPurpose).heard).toEqual([1]);
    await newer.close();
    await start(Wide);
    await isLeftAlone('test.heard');
  });

  it('leave a view alone once it has been built in a newer shape', async () => {
    const older = await start(Applied);
    await older.store.append(aThing(), [happened(1)]);
    await older.subscriptions.idle();
    const newer = await start(AppliedInNewShape);
    const versions = async () =>
      (await tester.query(`select name, version from subscriptions.checkpoints where name like 'test.applied%'`)).rows;
    await eventually(async () => {
      const [only, ...others] = await versions();
      return only.version === 2 && others.length === 0;
    });
    await newer.close();
    await isLeftAlone('test.applied');
  });

  describe('of which none handles a reaction any more', () => {
    it('raise no alert for it once it is retired, and take it up again where it stood', async () => {
      const first = await start(Wide);
      await first.store.append(aThing(), [happened(1)]);
      await first.subscriptions.idle();
      await expect(first.subscriptions.retire('test.heard', 'user:operator')).rejects.toMatchObject({
        code: 'subscription-in-use',
      });
      await first.close();
      const without = await start();
      await without.store.append(aThing(), [happened(2)]);
      await without.subscriptions.retire('test.heard', 'user:operator');
      const heard = async (kernel: Kernel) =>
        (await kernel.subscriptions.status()).find(({ name }) => name === 'test.heard');
      expect(await heard(without)).toMatchObject({ name: 'test.heard', lag: 1, retiredBy: 'user:operator' });
      await without.close();
      const again = await start(Wide);
      await again.subscriptions.idle();
      expect(again.get(Wide).heard).toEqual([2]);
      expect(await heard(again)).toMatchObject({ retiredBy: null });
    });

    it('do not retire the rebuild of a view, which is abandoned instead', async () => {
      const kernel = await start(Applied);
      await kernel.subscriptions.rebuild('test.applied');
      await kernel.subscriptions.pause('test.applied/rebuild', 'user:operator');
      await eventually(async () => (await ownerOf('test.applied/rebuild')) === null);
      await expect(kernel.subscriptions.retire('test.applied/rebuild', 'user:operator')).rejects.toMatchObject({
        code: 'subscription-in-use',
      });
    });

    it('know nothing of one that never was', async () => {
      const kernel = await start();
      await expect(kernel.subscriptions.retire('test.nothing', 'user:operator')).rejects.toMatchObject({
        code: 'subscription-unknown',
      });
    });
  });
});
