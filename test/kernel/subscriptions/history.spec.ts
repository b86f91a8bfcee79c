import type { Client } from 'pg';
import { connected } from '../../../src/kernel/database/connected';
import { EventType } from '../../../src/kernel/event-store/event-type';
import { Fenced, moveCheckpoint } from '../../../src/kernel/subscriptions/fencing';
import { LogHistory } from '../../../src/kernel/subscriptions/log-history';
import { Reaction } from '../../../src/kernel/subscriptions/reaction';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, connect, eventually, forgetEverything, happened, type Kernel, startKernel } from '../support';
import { Applied, applied, appliedTable, checkpoint } from './applied';

@EventType('thing.happened')
class Happened {
  readonly n!: number;
}

@Reaction({ name: 'test.heard' }, Happened)
class Heard {
  readonly heard: number[] = [];
  handle({ n }: Happened): void {
    this.heard.push(n);
  }
}

describe('a log that has lost its end', () => {
  let db: TestDatabase;
  let tester: Client;
  const kernels: Kernel[] = [];

  const start = async (): Promise<Kernel> => {
    const started = await startKernel(db.url, [Heard, Applied]);
    kernels.push(started);
    return started;
  };
  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
    await tester.query(appliedTable);
  });
  beforeEach(async () => {
    await forgetEverything(tester);
    await tester.query('truncate test_view.applied, subscriptions.history_changes');
  });
  afterEach(() => Promise.all(kernels.splice(0).map((each) => each.close())));
  afterAll(async () => {
    await tester.end();
    await db.drop();
  });

  const write = async (kernel: Kernel, from: number, to: number) => {
    for (let n = from; n <= to; n++) await kernel.store.append(aThing(), [happened(n)]);
  };
  /** As a failover to a replica that lagged behind: all tables as they were then, while the processes go on. */
  const goBackTo = (position: number, checkpoints = position) =>
    tester.query(`
      begin;
      alter table event_store.events disable trigger user;
      delete from event_store.events where position > ${position};
      alter table event_store.events enable trigger user;
      delete from test_view.applied where position > ${checkpoints};
      update subscriptions.checkpoints set position = ${checkpoints} where position > ${checkpoints};
      commit`);
  const log = async () =>
    (
      await tester.query<{ position: number; n: number }>(
        `select position::float8, (payload ->> 'n')::int as n from event_store.events order by position`,
      )
    ).rows;
  const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

  it('is noticed: views show what is in the log, and every event in it is handled', async () => {
    const kernels = [await start(), await start()];
    const [kernel] = kernels as [Kernel, Kernel];
    await write(kernel, 1, 20);
    await kernel.subscriptions.idle();
    await goBackTo(10);
    await write(kernel, 101, 116);
    await eventually(async () => (await applied(tester)).length === 26, 15_000);
    expect(await applied(tester)).toEqual(await log());
    const heard = kernels.flatMap((each) => each.get(Heard).heard);
    expect(heard).toEqual(expect.arrayContaining(numbers(101, 116)));
    await eventually(async () => (await checkpoint(tester, 'test.heard')).position === 26);
  }, 30_000);

  it('is noticed while nothing is written', async () => {
    const kernel = await start();
    await write(kernel, 1, 20);
    await kernel.subscriptions.idle();
    await goBackTo(10);
    const history = kernel.get(LogHistory);
    const [change] = await eventually(async () => {
      const changes = await history.list(10, null);
      return changes.length > 0 ? changes : undefined;
    });
    expect(change).toMatchObject({ lostFrom: 11, lostTo: 20, head: 10, acknowledgedBy: null });
    await history.acknowledge(change!.id, 'user:operator');
    expect(await history.unacknowledged()).toBe(0);
    await write(kernel, 101, 105);
    await eventually(async () => (await applied(tester)).length === 15);
    expect(await applied(tester)).toEqual(await log());
  });

  it('is noticed when another process has written other events in the meantime', async () => {
    const [first, second] = [await start(), await start()];
    await write(first, 1, 20);
    await first.subscriptions.idle();
    // the first one does not look for a moment, as a process that stands still
    await goBackTo(10);
    await write(second, 201, 230);
    await eventually(async () => (await applied(tester)).length === 40, 15_000);
    expect(await applied(tester)).toEqual(await log());
    const heard = [...first.get(Heard).heard, ...second.get(Heard).heard];
    expect(heard).toEqual(expect.arrayContaining(numbers(201, 230)));
    expect(await first.get(LogHistory).unacknowledged()).toBeGreaterThan(0);
  }, 30_000);

  it('has reactions go on from its end, and views built anew, when their checkpoints were not restored with it', async () => {
    const kernel = await start();
    await write(kernel, 1, 20);
    await kernel.subscriptions.idle();
    await kernel.close();
    await goBackTo(10, 20);
    const restarted = await start();
    await eventually(async () => (await applied(tester)).length === 10);
    await write(restarted, 101, 105);
    await restarted.subscriptions.idle();
    expect(restarted.get(Heard).heard).toEqual(numbers(101, 105));
    expect(await applied(tester)).toEqual(await log());
  }, 20_000);

  it('has caches forget what they were told, and tells them what there is now', async () => {
    const kernel = await start();
    let told: number[] = [];
    kernel.subscriptions.follow(
      ['thing.happened'],
      ({ payload }) => told.push(payload['n'] as number),
      () => (told = []),
    );
    await write(kernel, 1, 20);
    await eventually(() => told.length === 20);
    await goBackTo(10);
    await write(kernel, 101, 103);
    await eventually(() => told.includes(103) && !told.includes(20));
    expect(told).toEqual([101, 102, 103]);
  });

  it('moves no checkpoint for what is gone, even before it is noticed', async () => {
    const kernel = await start();
    await write(kernel, 1, 20);
    await kernel.subscriptions.idle();
    const [event] = await kernel.store.at([20]);
    const lease = {
      name: 'test.heard',
      segment: 0,
      position: 20,
      epoch: (await checkpoint(tester, 'test.heard')).epoch,
    };
    await goBackTo(10);
    const move = (seen: { position: number; id: string }) =>
      connected(db.appUrl, (client) => moveCheckpoint(client as never, lease, 10, { seen }));
    await expect(move({ position: 20, id: event!.id })).rejects.toThrow(Fenced);
  });

  it('cannot be acknowledged under an id that nobody knows', async () => {
    const kernel = await start();
    await expect(kernel.get(LogHistory).acknowledge(aThing().id, 'user:operator')).rejects.toMatchObject({
      code: 'history-change-unknown',
    });
  });
});
