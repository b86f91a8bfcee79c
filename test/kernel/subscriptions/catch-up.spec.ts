import type { IEventHandler } from '@nestjs/cqrs';
import type { Client } from 'pg';
import type { StoredEvent } from '../../../src/kernel/event-store/event';
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
  type Kernel,
  openGates,
  startKernel,
} from '../support';
import { Applied, applied, appliedTable, checkpoint } from './applied';

@EventType('thing.happened')
class ThingHappened {
  readonly n!: number;
}

@Reaction({ name: 'test.heard' }, ThingHappened)
class Heard implements IEventHandler<ThingHappened> {
  readonly handled: number[] = [];
  may: Promise<void> = Promise.resolve();

  async handle({ n }: ThingHappened): Promise<void> {
    await this.may;
    this.handled.push(n);
  }
}

/** More than two pages of what nobody hears. */
const silence = 4100;

describe('a subscription far behind', () => {
  let db: TestDatabase;
  let tester: Client;
  let kernel: Kernel;

  const start = () => startKernel(db.url, [Applied, Heard]);
  /** As a process that starts long after everything happened: nothing of the log is in its memory. */
  const startOver = async (): Promise<Kernel> => {
    await kernel.close();
    await tester.query('truncate test_view.applied; update subscriptions.checkpoints set position = 0');
    return (kernel = await start());
  };
  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
    await tester.query(appliedTable);
  });
  beforeEach(async () => {
    await forgetEverything(tester);
    await tester.query('truncate test_view.applied');
    kernel = await start();
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    openGates();
    await kernel.close();
  });
  afterAll(async () => {
    await tester.end();
    await db.drop();
  });

  const append = async (from: number, to: number, event: (n: number) => { type: string }) => {
    for (let n = from; n < to; n += 50) {
      await kernel.store.append(
        aThing(),
        Array.from({ length: Math.min(50, to - n) }, (_, nth) => event(n + nth)),
      );
    }
  };
  /** What happens before each batch is applied, from the next start on. */
  const projecting = (before: (events: readonly StoredEvent[]) => void) => {
    const { project } = Applied.prototype;
    jest.spyOn(Applied.prototype, 'project').mockImplementation(async function (this: Applied, events, ...rest) {
      before(events);
      return project.call(this, events, ...rest);
    });
  };
  const ignored = () => ({ type: 'thing.ignored' });
  const counted = (to: number) => Array.from({ length: to }, (_, n) => n);

  it('hears all of its types, page by page, and passes by what is in between and behind', async () => {
    await append(0, 3003, happened);
    await append(0, silence, ignored);
    await append(3003, 5207, happened);
    await append(0, silence, ignored);
    const { subscriptions, get, store } = await startOver();
    await subscriptions.idle();
    expect((await applied(tester)).map(({ n }) => n)).toEqual(counted(5207));
    expect(get(Heard).handled.sort((a, b) => a - b)).toEqual(counted(5207));
    expect(await store.head()).toBe(5207 + 2 * silence);
    await kernel.close();
    for (const name of ['test.applied', 'test.heard']) {
      expect((await checkpoint(tester, name)).position).toBe(5207 + 2 * silence);
    }
  });

  it('sees an event as a reader of its stream does', async () => {
    const thing = aThing();
    await append(0, 2010, happened);
    await kernel.store.append(thing, [
      happened(1, { text: 'a\t"b"\\ \u2028 ü', deep: [{ x: 1.5e-7 }, null, []] }),
      happened(2),
    ]);
    await append(0, 2010, happened);
    const seen: StoredEvent[] = [];
    await kernel.close();
    projecting((events) => void seen.push(...events));
    const { store, subscriptions } = await startOver();
    await subscriptions.idle();
    expect(seen.filter(({ aggregateId }) => aggregateId === thing.id)).toEqual(await store.getEvents(thing.id));
  });

  it('buries the guilty event of a later page, and nothing but that', async () => {
    await append(0, 5000, happened);
    await kernel.close();
    const guilty = 3210;
    projecting((events) => {
      if (events.some((event) => event.payload['n'] === guilty)) throw new Error('not this one');
    });
    const { subscriptions } = await startOver();
    await subscriptions.idle();
    const parkedWithIt = counted(5000).filter((n) => n >= guilty && n < 3250);
    expect((await applied(tester)).map(({ n }) => n)).toEqual(counted(5000).filter((n) => !parkedWithIt.includes(n)));
    const { rows } = await tester.query(
      `select state, count(*)::int from subscriptions.dead_letters group by 1 order by 1`,
    );
    expect(rows).toEqual([
      { state: 'failed', count: 1 },
      { state: 'parked', count: parkedWithIt.length - 1 },
    ]);
  });

  it('begins again with what it had not begun when it was stopped within a page', async () => {
    const { opened, open } = gate();
    const first = kernel.get(Heard);
    first.may = opened;
    for (let n = 0; n < 300; n++) void kernel.store.append(aThing(), [happened(n)]);
    await eventually(
      async () => (await kernel.store.head()) === 300 && (await kernel.subscriptions.projected(300, 5000)),
    );
    const closed = kernel.close();
    // a while, for the word to stop to reach the reaction while its hands are full
    await new Promise((resolve) => setTimeout(resolve, 200));
    open();
    await closed;
    expect(first.handled.length).toBeLessThan(300);
    kernel = await start();
    await kernel.subscriptions.idle();
    const handled = new Set([...first.handled, ...kernel.get(Heard).handled]);
    expect([...handled].sort((a, b) => a - b)).toEqual(counted(300));
  });
});
