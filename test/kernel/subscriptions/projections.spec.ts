import type { Client, PoolClient } from 'pg';
import { Database } from '../../../src/kernel/database/database';
import type { StoredEvent } from '../../../src/kernel/event-store/event';
import { Fenced } from '../../../src/kernel/subscriptions/fencing';
import { FoldedView, ProjectionOf } from '../../../src/kernel/subscriptions/projection';
import { createDatabase, grantedUrl, type TestDatabase } from '../../support/database';
import {
  aThing,
  connect,
  eventually,
  forgetEverything,
  gate,
  happened,
  type Kernel,
  kill,
  openGates,
  quickRetry,
  startKernel,
} from '../support';
import { Applied, applied, appliedTable, checkpoint, giveBackLease, takeLease } from './applied';

const subscription = 'test.applied';
const operator = 'user:operator';

describe('a projection', () => {
  let db: TestDatabase;
  let tester: Client;
  let kernel: Kernel;
  let view: Applied;
  const kernels: Kernel[] = [];

  const start = async (): Promise<Kernel> => {
    const started = await startKernel(db.url, [Applied]);
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
    await tester.query('truncate test_view.applied');
    kernel = await start();
    view = kernel.get(Applied);
  });
  afterEach(async () => {
    openGates();
    await Promise.all(kernels.splice(0).map((each) => each.close()));
  });
  afterAll(async () => {
    await tester.end();
    await db.drop();
  });

  const log = async () =>
    (
      await tester.query<{ position: number; n: number }>(
        `select position::float8, (payload ->> 'n')::int as n from event_store.events
         where event_type = 'thing.happened' order by position`,
      )
    ).rows;
  const owner = async () => (await kernel.subscriptions.status()).find((status) => status.name === subscription)?.owner;
  const expectFold = async () => expect(await applied(tester)).toEqual(await log());
  const grown = (count: number) => eventually(async () => (await applied(tester)).length >= count);

  it('applies every event of its types once, in the order of the log', async () => {
    const thing = aThing();
    await Promise.all(
      Array.from({ length: 300 }, (_, n) =>
        kernel.store.append(n % 3 ? aThing() : thing, [
          happened(n),
          { type: 'thing.ignored' },
          ...(n % 2 ? [happened(n + 1000)] : []),
        ]),
      ),
    );
    await kernel.subscriptions.idle();
    expect(await applied(tester)).toHaveLength(450);
    await expectFold();
  });

  it('starts with what was in the log before it', async () => {
    await kernel.close();
    const { store } = await start();
    await store.append(aThing(), [happened(1), happened(2)]);
    await Promise.all(kernels.map((each) => each.close()));
    await tester.query(`truncate test_view.applied; update subscriptions.checkpoints set position = 0`);
    kernel = await start();
    await kernel.subscriptions.idle();
    await expectFold();
    expect(await applied(tester)).toHaveLength(2);
  });

  it('misses and repeats nothing when its connections are killed in between', async () => {
    let writing = true;
    let n = 0;
    const writers = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (writing) await kernel.store.append(aThing(), [happened(n++)]);
      }),
    );
    for (let kills = 0, next = 40; kills < 8; next += 40) {
      await eventually(async () => (await applied(tester)).length >= next);
      kills += await kill(tester, 'orderloom/derived');
    }
    writing = false;
    await writers;
    await kernel.subscriptions.idle();
    expect((await applied(tester)).length).toBe(n);
    await expectFold();
  });

  it('repeats nothing when the line broke after the commit and before the answer', async () => {
    let broken = 0;
    view.before = (_, client) => {
      if (broken++) return;
      loseTheAnswerOfTheCommit(client);
    };
    await kernel.store.append(aThing(), [happened(1)]);
    await grown(1);
    await kernel.store.append(aThing(), [happened(2)]);
    await grown(2);
    await kernel.subscriptions.idle();
    await expectFold();
  });

  it('goes back to what is stored when a crash of the server took its last commits away', async () => {
    await kernel.store.append(aThing(), [happened(1), happened(2)]);
    await kernel.subscriptions.idle();
    const { position } = await checkpoint(tester, subscription);
    await kernel.store.append(aThing(), [happened(3), happened(4)]);
    await kernel.subscriptions.idle();
    // views commit without waiting for the disk: their last commits go together, if they go
    await tester.query('begin');
    await tester.query('delete from test_view.applied where position > $1', [position]);
    await tester.query('update subscriptions.checkpoints set position = $1 where name = $2', [position, subscription]);
    await tester.query('commit');
    await kernel.store.append(aThing(), [happened(5)]);
    await eventually(async () => (await applied(tester)).some(({ n }) => n === 5));
    await expectFold();
  });

  it('shows a writer what it wrote, also when another process keeps the view', async () => {
    const other = await start();
    for (const each of [kernel, other]) {
      const { position } = await each.store.append(aThing(), [happened(1)]);
      expect(await each.subscriptions.projected(position, 5000)).toBe(true);
      expect((await applied(tester)).at(-1)?.position).toBe(position);
    }
    const { opened, open } = gate();
    view.before = () => opened;
    const { position } = await kernel.store.append(aThing(), [happened(1)]);
    expect(await kernel.subscriptions.projected(position, 50)).toBe(false);
    expect(await other.subscriptions.projected(position, 50)).toBe(false);
    open();
    expect(await other.subscriptions.projected(position, 5000)).toBe(true);
  });

  describe('of which several processes have one', () => {
    it('is run by one of them, and by another as soon as that one leaves', async () => {
      const other = await start();
      const first = await owner();
      await Promise.all(
        Array.from({ length: 60 }, (_, n) => (n % 2 ? kernel : other).store.append(aThing(), [happened(n)])),
      );
      await grown(60);
      expect(await owner()).toBe(first);
      await kernel.close();
      await Promise.all(Array.from({ length: 20 }, (_, n) => other.store.append(aThing(), [happened(n)])));
      await grown(80);
      await expectFold();
    });

    it('changes hands at once when the session of its owner is gone', async () => {
      const doomed = await connect(db.url);
      await takeLease(doomed, subscription);
      const taken = await owner();
      await kernel.store.append(aThing(), [happened(1)]);
      await renewals();
      expect(await owner()).toBe(taken);
      expect(await applied(tester)).toEqual([]);
      // as a killed process leaves it: the lease itself has an hour to go
      await doomed.end();
      await grown(1);
      expect(await owner()).not.toBe(taken);
      await expectFold();
    });

    it('is not touched any more by one that was replaced while it was away', async () => {
      const database = kernel.get(Database);
      const { opened, open } = gate();
      const transaction = database.relaxedTransaction.bind(database);
      let paused = false;
      let ended: Promise<unknown> | undefined;
      database.relaxedTransaction = (work) => {
        paused = true;
        return (ended = opened.then(() => transaction(work))) as ReturnType<typeof work>;
      };
      await kernel.store.append(aThing(), [happened(1)]);
      await eventually(() => paused);
      await takeLease(tester, subscription);
      // it wakes up, and knows nothing of its successor
      open();
      await expect(ended).rejects.toThrow(Fenced);
      await kernel.store.append(aThing(), [happened(2)]);
      await renewals();
      expect(await applied(tester)).toEqual([]);
      await giveBackLease(tester, subscription);
      await grown(2);
      await expectFold();
    });
  });

  it('is claimed once after its lease was taken away while it was idle, and stops when told to', async () => {
    await kernel.store.append(aThing(), [happened(1)]);
    await grown(1);
    await renewals();
    const { rows } = await tester.query<{ epoch: number }>(
      `update subscriptions.checkpoints set owner = null, epoch = epoch + 1 where name = $1 returning epoch::float8`,
      [subscription],
    );
    await renewals();
    expect((await checkpoint(tester, subscription)).epoch).toBe(rows[0]!.epoch + 1);
    await kernel.store.append(aThing(), [happened(2)]);
    await grown(2);
    await expectFold();
    await kernel.close();
  });

  /** Two rounds of the leases, in which a replaced worker could think that nothing had happened. */
  const renewals = async () => {
    const { rows } = await tester.query('select clock_timestamp() as now');
    await eventually(async () => {
      const { rowCount } = await tester.query(
        `select from pg_stat_activity where datname = current_database() and application_name = 'orderloom/leases'
           and query_start > $1::timestamptz + interval '1.1 s'`,
        [rows[0].now],
      );
      return rowCount === 1;
    });
  };

  describe('that meets an event which it cannot apply', () => {
    let poison: Set<unknown>;
    let calls: number[];
    const fatal = (events: readonly StoredEvent[]) => {
      calls.push(events.length);
      for (const { payload } of events)
        if (poison.has(payload['n'])) throw new Error(`cannot apply ${String(payload['n'])}`);
    };
    const letters = () => kernel.deadLetters.list({ subscription }, 100).then((list) => list.toReversed());
    const states = async () => (await letters()).map(({ state }) => state);
    const appliedNumbers = async () => (await applied(tester)).map(({ n }) => n);

    beforeEach(() => {
      poison = new Set();
      calls = [];
      view.before = fatal;
    });

    it('finds it by halving, keeps it as a dead letter, and applies all others', async () => {
      await kernel.close();
      const things = Array.from({ length: 60 }, aThing);
      const writer = await startKernel(db.url);
      for (const [n, thing] of things.entries()) await writer.store.append(thing, [happened(n)]);
      await writer.close();
      kernel = await start();
      poison.add(41);
      kernel.get(Applied).before = fatal;
      await kernel.subscriptions.idle();
      const numbers = await appliedNumbers();
      expect(numbers).toEqual(Array.from({ length: 60 }, (_, n) => n).filter((n) => n !== 41));
      expect(await letters()).toMatchObject([
        { state: 'failed', partition: things[41]!.id, attempts: quickRetry.attempts },
      ]);
      expect((await letters())[0]!.error).toContain('cannot apply 41');
      expect(calls.length).toBeLessThan(60);
    });

    it('tries one that stands alone as often as was asked for', async () => {
      poison.add(1);
      await kernel.store.append(aThing(), [happened(1)]);
      await kernel.subscriptions.idle();
      expect(calls).toEqual([1, 1, 1]);
      expect(await letters()).toMatchObject([
        { state: 'failed', attempts: 3, eventType: 'thing.happened', position: 1 },
      ]);
    });

    it('parks later events of the aggregate in order, and goes on with the others', async () => {
      const [bad, good] = [aThing(), aThing()];
      poison.add(1);
      for (const n of [0, 1, 2]) await kernel.store.append(bad, [happened(n)]);
      await kernel.store.append(good, [happened(10)]);
      await kernel.subscriptions.idle();
      await kernel.store.append(bad, [happened(3)]);
      await kernel.subscriptions.idle();
      expect(await appliedNumbers()).toEqual([0, 10]);
      expect(await states()).toEqual(['failed', 'parked', 'parked']);
      const status = (await kernel.subscriptions.status()).find((each) => each.name === subscription);
      expect(status).toMatchObject({ deadLetters: 3, lag: 0 });
    });

    it('replays in order when an operator says so, and lets the aggregate flow again', async () => {
      const bad = aThing();
      poison.add(1);
      for (const n of [1, 2, 3]) await kernel.store.append(bad, [happened(n)]);
      await kernel.subscriptions.idle();
      poison.clear();
      await kernel.deadLetters.requestReplay(subscription, 1, operator);
      await eventually(async () => (await states()).every((state) => state === 'replayed'));
      expect(await letters()).toMatchObject([1, 2, 3].map(() => ({ resolvedBy: operator })));
      await eventually(async () => {
        await kernel.store.append(aThing(), [happened(99)]);
        await kernel.subscriptions.idle();
        return true;
      });
      await kernel.store.append(bad, [happened(4)]);
      await kernel.subscriptions.idle();
      expect((await appliedNumbers()).filter((n) => n < 99)).toEqual([1, 2, 3, 4]);
      await expect(kernel.deadLetters.requestReplay(subscription, 1, operator)).rejects.toMatchObject({
        code: 'dead-letter-replayed',
      });
    });

    it('discards one with a reason and applies what was behind it', async () => {
      const bad = aThing();
      poison.add(1);
      for (const n of [1, 2, 3]) await kernel.store.append(bad, [happened(n)]);
      await kernel.subscriptions.idle();
      await kernel.deadLetters.discard(subscription, 1, operator, 'a test order');
      await eventually(async () => (await states()).join() === 'discarded,replayed,replayed');
      expect(await appliedNumbers()).toEqual([2, 3]);
      expect(await kernel.deadLetters.get(subscription, 1)).toMatchObject({
        resolvedBy: operator,
        reason: 'a test order',
      });
    });

    it('waits for what asks for patience, however often', async () => {
      let times = 0;
      view.before = () => {
        if (times++ < 10) throw Object.assign(new Error('busy'), { retryAfterMs: 1 });
      };
      await kernel.store.append(aThing(), [happened(1)]);
      await kernel.subscriptions.idle();
      expect(await letters()).toEqual([]);
      expect(await appliedNumbers()).toEqual([1]);
    });
  });

  it('as a fold of rows survives a broken line in its first look at the table', async () => {
    await tester.query('create table test_view.counts (id uuid primary key, total integer not null)');
    await grantedUrl(db.url);
    const database = kernel.get(Database);
    const counts = new Counts();
    const events: StoredEvent[] = [];
    kernel.store.onCommitted((committed) => events.push(...committed));
    const thing = aThing();
    await kernel.store.append(thing, [happened(1), happened(2)]);
    const project = (breaking: boolean) =>
      database.relaxedTransaction((client) => {
        const query = client.query.bind(client) as (...args: unknown[]) => Promise<unknown>;
        const broken = (...args: unknown[]) =>
          breaking && String(args[0]).includes('pg_attribute')
            ? Promise.reject(new Error('Connection terminated unexpectedly'))
            : query(...args);
        return counts.project(events, { query: broken } as unknown as PoolClient, counts.table);
      });
    await expect(project(true)).rejects.toThrow('terminated');
    await project(false);
    await project(false);
    const { rows } = await tester.query('select * from test_view.counts');
    expect(rows).toEqual([{ id: thing.id, total: 6 }]);
  });
});

@ProjectionOf('test.counts')
class Counts extends FoldedView<{ id: string; total: number }> {
  readonly eventTypes = ['thing.happened'];

  constructor() {
    super({ table: 'test_view.counts', key: 'id' });
  }

  protected keyOf(event: StoredEvent): string {
    return event.aggregateId;
  }

  protected evolve(row: { id: string; total: number } | undefined, event: StoredEvent) {
    return { id: event.aggregateId, total: (row?.total ?? 0) + (event.payload['n'] as number) };
  }
}

function loseTheAnswerOfTheCommit(client: PoolClient): void {
  const query = client.query.bind(client) as (...args: unknown[]) => Promise<unknown>;
  client.query = (async (...args: unknown[]) => {
    const result = await query(...args);
    if (args[0] !== 'commit') return result;
    client.query = query as PoolClient['query'];
    throw new Error('Connection terminated unexpectedly');
  }) as PoolClient['query'];
}
