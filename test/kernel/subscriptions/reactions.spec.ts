import type { IEventHandler } from '@nestjs/cqrs';
import type { Client } from 'pg';
import { currentContext } from '../../../src/kernel/context';
import { Database } from '../../../src/kernel/database/database';
import { DomainError } from '../../../src/kernel/domain-error';
import { EventStore } from '../../../src/kernel/event-store/event-store';
import { EventType } from '../../../src/kernel/event-store/event-type';
import { newId } from '../../../src/kernel/ids';
import { Reaction } from '../../../src/kernel/subscriptions/reaction';
import type { RetryOptions } from '../../../src/kernel/subscriptions/runner';
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
import { checkpoint, giveBackLease, takeLease } from './applied';

@EventType('thing.happened')
class ThingHappened {
  readonly n!: number;
  readonly orderId?: string;
}

class Recorder implements IEventHandler<ThingHappened> {
  /** `n` of each event that was handled to its end. */
  readonly handled: number[] = [];
  readonly begun: number[] = [];
  on: (event: ThingHappened) => unknown = () => undefined;

  async handle(event: ThingHappened): Promise<void> {
    this.begun.push(event.n);
    await this.on(event);
    this.handled.push(event.n);
  }
}

@Reaction({ name: 'test.heard' }, ThingHappened)
class Heard extends Recorder {}

@Reaction({ name: 'test.heard-by-order', partitionBy: 'orderId' }, ThingHappened)
class HeardByOrder extends Recorder {}

@Reaction({ name: 'test.heard' }, ThingHappened)
class HeardAsWell extends Recorder {}

const subscription = 'test.heard';
const operator = 'user:operator';

describe('a reaction', () => {
  let db: TestDatabase;
  let tester: Client;
  let kernel: Kernel;
  let heard: Heard;
  const kernels: Kernel[] = [];

  const start = async (retry?: Partial<RetryOptions>): Promise<Kernel> => {
    const started = await startKernel(db.url, [Heard, HeardByOrder], retry);
    kernels.push(started);
    return started;
  };
  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
  });
  beforeEach(async () => {
    await forgetEverything(tester);
    kernel = await start();
    heard = kernel.get(Heard);
  });
  afterEach(async () => {
    openGates();
    await Promise.all(kernels.splice(0).map((each) => each.close()));
  });
  afterAll(async () => {
    await tester.end();
    await db.drop();
  });
  const tell = (thing: { type: string; id: string }, ...ns: number[]) =>
    kernel.store.append(
      thing,
      ns.map((n) => happened(n)),
    );
  const letters = () => kernel.deadLetters.list({ subscription }, 1000).then((list) => list.toReversed());
  const states = async () => (await letters()).map(({ state }) => state).join();

  it('hears every event, each aggregate’s in order', async () => {
    const things = Array.from({ length: 10 }, aThing);
    const order = new Map<number, number[]>();
    heard.on = async ({ n }) => {
      const thing = n % things.length;
      const before = order.get(thing) ?? [];
      // what is slow must not be overtaken by what came later
      if (n < 50) await new Promise((resolve) => setImmediate(resolve));
      order.set(thing, [...before, n]);
    };
    for (let n = 0; n < 400; n += 20) {
      await Promise.all(
        things.map((thing, nth) => kernel.store.append(thing, [happened(n + nth), happened(n + nth + 10)])),
      );
    }
    await kernel.subscriptions.idle();
    expect(heard.handled.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 400 }, (_, n) => n));
    for (const [thing, ns] of order) expect(ns).toEqual(Array.from({ length: 40 }, (_, nth) => nth * 10 + thing));
  });

  it('lets aggregates run side by side: one that takes long holds nobody up', async () => {
    const { opened, open } = gate();
    heard.on = ({ n }) => (n === 1 ? opened : undefined);
    const slow = aThing();
    await tell(slow, 1, 2);
    await tell(aThing(), 3, 4);
    await eventually(() => heard.handled.length === 2);
    expect(heard.handled).toEqual([3, 4]);
    expect(heard.begun).not.toContain(2);
    open();
    await kernel.subscriptions.idle();
    expect(heard.handled).toEqual([3, 4, 1, 2]);
  });

  it('keeps the order among several aggregates that share what it is partitioned by', async () => {
    const byOrder = kernel.get(HeardByOrder);
    const { opened, open } = gate();
    byOrder.on = ({ n }) => (n === 1 ? opened : undefined);
    const [orderId, otherId] = [newId(), newId()];
    await kernel.store.append(aThing(), [happened(1, { orderId })]);
    await kernel.store.append(aThing(), [happened(2, { orderId })]);
    await kernel.store.append(aThing(), [happened(3, { orderId: otherId })]);
    await eventually(() => byOrder.handled.length === 1);
    expect(byOrder.begun).toEqual([1, 3]);
    open();
    await kernel.subscriptions.idle();
    expect(byOrder.handled).toEqual([3, 1, 2]);
  });

  it('hears what another process wrote', async () => {
    const other = await startKernel(db.url);
    kernels.push(other);
    await other.store.append(aThing(), [happened(1)]);
    await eventually(() => heard.handled.length === 1);
  });

  it('acts in the name of the subscription, because of the event', async () => {
    let context = currentContext();
    heard.on = () => (context = currentContext());
    await tell(aThing(), 1);
    await kernel.subscriptions.idle();
    const [event] = await kernel.store.readLog(0, 1);
    const { correlationId } = event!.metadata;
    expect(context).toMatchObject({ actor: `system:${subscription}`, correlationId, causationId: event!.id });
  });

  it('has the effects of its commands once, however often it hears of one event', async () => {
    const [effects, more] = [aThing(), aThing()];
    const react = (instance: Kernel) => async () => {
      const store = instance.get(EventStore);
      await store.append(effects, [{ type: 'effect.had' }]);
      await store.append(effects, [{ type: 'effect.had' }]);
      await store.append(more, [{ type: 'effect.had' }]);
    };
    heard.on = react(kernel);
    await tell(aThing(), 1);
    await kernel.subscriptions.idle();
    await kernel.close();
    await tester.query('update subscriptions.checkpoints set position = 0');
    kernel = await start();
    kernel.get(Heard).on = react(kernel);
    await kernel.subscriptions.idle();
    expect(kernel.get(Heard).handled).toEqual([1]);
    expect(await kernel.store.getEvents(effects.id)).toHaveLength(2);
    expect(await kernel.store.getEvents(more.id)).toHaveLength(1);
  });

  describe('that fails', () => {
    const failing = new Map<number, number>();
    const failAsOftenAsAsked = ({ n }: ThingHappened) => {
      const left = failing.get(n) ?? 0;
      failing.set(n, left - 1);
      if (left > 0) throw new Error(`not now, ${n}`);
    };
    beforeEach(() => {
      failing.clear();
      heard.on = failAsOftenAsAsked;
    });

    it('is tried again, with its later events behind it', async () => {
      failing.set(1, 2);
      await tell(aThing(), 1, 2);
      await kernel.subscriptions.idle();
      expect(heard.begun).toEqual([1, 1, 1, 2]);
      expect(await letters()).toEqual([]);
    });

    it('pauses longer with each further try', async () => {
      await kernel.close();
      kernel = await start({ attempts: 4, backoffMs: 20, maxBackoffMs: 1000 });
      const times: number[] = [];
      kernel.get(Heard).on = (event) => {
        times.push(performance.now());
        failAsOftenAsAsked(event);
      };
      failing.set(1, 3);
      await tell(aThing(), 1);
      await kernel.subscriptions.idle();
      const pauses = times.slice(1).map((time, nth) => time - times[nth]!);
      // full jitter in the upper half: 10 to 20, 20 to 40, 40 to 80; timers may be a little early
      [9, 19, 39].forEach((least, nth) => expect(pauses[nth]).toBeGreaterThanOrEqual(least));
    });

    it('for good becomes a dead letter; what comes after it is parked, and all others go on', async () => {
      const [bad, good] = [aThing(), aThing()];
      failing.set(2, Infinity);
      await tell(bad, 1, 2, 3);
      await tell(good, 10);
      await kernel.subscriptions.idle();
      await tell(bad, 4);
      await tell(good, 11);
      await kernel.subscriptions.idle();
      expect(heard.handled.toSorted((a, b) => a - b)).toEqual([1, 10, 11]);
      expect(await letters()).toMatchObject([
        { state: 'failed', position: 2, attempts: 3, partition: bad.id, eventType: 'thing.happened' },
        { state: 'parked', position: 3, error: null },
        { state: 'parked', position: 5, error: null },
      ]);
      expect((await letters())[0]!.error).toContain('not now, 2');
      const status = (await kernel.subscriptions.status()).find((each) => each.name === subscription);
      expect(status).toMatchObject({ deadLetters: 3, lag: 0 });
    });

    it('becomes a dead letter also when what fails is a refusal', async () => {
      heard.on = () => {
        throw new DomainError('not-found', 'order-unknown', 'There is no such order.');
      };
      await tell(aThing(), 1);
      await kernel.subscriptions.idle();
      expect(await letters()).toMatchObject([{ state: 'failed', position: 1, attempts: 3 }]);
    });

    it('stays parked over a restart, and is replayed in order when an operator says so', async () => {
      const bad = aThing();
      failing.set(1, Infinity);
      await tell(bad, 1, 2);
      await kernel.subscriptions.idle();
      await kernel.close();
      kernel = await start();
      heard = kernel.get(Heard);
      heard.on = failAsOftenAsAsked;
      await tell(bad, 3);
      await kernel.subscriptions.idle();
      expect(heard.begun).toEqual([]);
      expect(await states()).toBe('failed,parked,parked');

      failing.clear();
      await kernel.deadLetters.requestReplay(subscription, 1, operator);
      await eventually(async () => (await states()) === 'replayed,replayed,replayed');
      await tell(bad, 4);
      await kernel.subscriptions.idle();
      expect(heard.handled).toEqual([1, 2, 3, 4]);
      expect(await letters()).toMatchObject([1, 2, 3].map(() => ({ resolvedBy: operator })));
    });

    it('again when it is replayed waits for the operator again', async () => {
      const bad = aThing();
      failing.set(1, Infinity);
      await tell(bad, 1, 2);
      await kernel.subscriptions.idle();
      await kernel.deadLetters.requestReplay(subscription, 2, operator);
      await eventually(async () => (await letters())[0]!.attempts === 4);
      expect(await letters()).toMatchObject([
        { state: 'failed', replayRequestedBy: null },
        { state: 'parked', replayRequestedBy: null },
      ]);
      expect(heard.handled).toEqual([]);
      // now the first goes through, and the second turns out bad
      failing.clear();
      failing.set(2, 1);
      await kernel.deadLetters.requestReplay(subscription, 1, operator);
      await eventually(async () => (await states()) === 'replayed,failed');
      expect(heard.handled).toEqual([1]);
    });

    it('and is discarded lets the rest of its aggregate go on', async () => {
      const bad = aThing();
      failing.set(1, Infinity);
      await tell(bad, 1, 2);
      await kernel.subscriptions.idle();
      const discarded = await kernel.deadLetters.discard(subscription, 1, operator, 'a test order');
      expect(discarded).toMatchObject({ state: 'discarded', resolvedBy: operator, reason: 'a test order' });
      await eventually(async () => (await states()) === 'discarded,replayed');
      await tell(bad, 3);
      await kernel.subscriptions.idle();
      expect(heard.handled).toEqual([2, 3]);
    });

    it('and is discarded lets flow also what came in at that moment', async () => {
      const bad = aThing();
      failing.set(1, Infinity);
      await tell(bad, 1);
      await kernel.subscriptions.idle();
      await kernel.deadLetters.discard(subscription, 1, operator, 'a test order');
      await tell(bad, 2);
      await eventually(() => heard.handled.includes(2));
    });

    it('leaves what failed alone when one behind it is discarded', async () => {
      failing.set(1, Infinity);
      await tell(aThing(), 1, 2, 3);
      await kernel.subscriptions.idle();
      await kernel.deadLetters.discard(subscription, 2, operator, 'a test order');
      expect(await letters()).toMatchObject([
        { state: 'failed', attempts: 3, replayRequestedBy: null },
        { state: 'discarded' },
        { state: 'parked', replayRequestedBy: null },
      ]);
      failing.clear();
      await kernel.deadLetters.requestReplay(subscription, 1, operator);
      await eventually(async () => (await states()) === 'replayed,discarded,replayed');
      expect(heard.handled).toEqual([1, 3]);
    });

    it('and is replayed while the target asks for patience is replayed later, without another word', async () => {
      failing.set(1, 3);
      await tell(aThing(), 1);
      await kernel.subscriptions.idle();
      let times = 0;
      heard.on = () => {
        if (times++ < 1) throw Object.assign(new Error('open circuit'), { retryAfterMs: 1 });
      };
      await kernel.deadLetters.requestReplay(subscription, 1, operator);
      await eventually(async () => (await states()) === 'replayed');
      expect((await letters())[0]).toMatchObject({ attempts: 3, resolvedBy: operator });
    });

    it('once more after it was replayed, since a crash told it again, is a dead letter again', async () => {
      const { opened, open } = gate();
      heard.on = (event) => (event.n === 0 ? opened : failAsOftenAsAsked(event));
      const bad = aThing();
      failing.set(1, 3);
      // in hand all the time: the checkpoint stays before it
      await tell(aThing(), 0);
      await tell(bad, 1);
      await eventually(async () => (await states()) === 'failed');
      await kernel.deadLetters.requestReplay(subscription, 2, operator);
      await eventually(async () => (await states()) === 'replayed');
      const closing = kernel.close();
      open();
      await closing;
      await tester.query(`update subscriptions.checkpoints set position = 0 where name = $1`, [subscription]);
      failing.set(1, Infinity);
      // not before it is known what fails
      await takeLease(tester, subscription);
      kernel = await start();
      kernel.get(Heard).on = failAsOftenAsAsked;
      await giveBackLease(tester, subscription);
      await kernel.subscriptions.idle();
      expect(await states()).toBe('failed');
    });

    it('because the target asks for patience, or the database is away, is not held against the event', async () => {
      let times = 0;
      heard.on = ({ n }) => {
        if (times++ >= 10) return;
        if (n === 1) throw Object.assign(new Error('open circuit'), { retryAfterMs: 1 });
        throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
      };
      await tell(aThing(), 1);
      await kernel.subscriptions.idle();
      expect(heard.begun).toHaveLength(11);
      times = 0;
      await tell(aThing(), 2);
      await kernel.subscriptions.idle();
      expect(heard.begun).toHaveLength(22);
      expect(await letters()).toEqual([]);
      expect(heard.handled).toEqual([1, 2]);
    });

    it('goes on when the line breaks while it looks for what to replay', async () => {
      const { pool } = kernel.get(Database);
      failing.set(1, 3);
      const bad = aThing();
      await tell(bad, 1);
      await kernel.subscriptions.idle();
      const query = pool.query.bind(pool) as (...args: unknown[]) => Promise<unknown>;
      let breaks = 1;
      pool.query = ((...args: unknown[]) =>
        String(args[0]).includes('bool_or(replay_requested_by') && breaks-- > 0
          ? Promise.reject(new Error('Connection terminated unexpectedly'))
          : query(...args)) as typeof pool.query;
      await kernel.deadLetters.requestReplay(subscription, 1, operator);
      await eventually(async () => (await states()) === 'replayed');
      await tell(aThing(), 5);
      await eventually(() => heard.handled.includes(5));
    });
  });

  describe('and its checkpoint', () => {
    it('which is never ahead of what was handled: stopped in the middle it skips nothing', async () => {
      const { opened, open } = gate();
      let blocked = 0;
      heard.on = ({ n }) => {
        if (n % 10 === 3) {
          blocked++;
          return opened.then(() => Promise.reject(new Error('too late')));
        }
        return undefined;
      };
      for (let n = 0; n < 40; n++) await tell(aThing(), n);
      await eventually(() => heard.handled.length === 36 && blocked === 4);
      expect((await checkpoint(tester, subscription)).position).toBeLessThanOrEqual(3);
      const first = kernel;
      const closing = first.close();
      open();
      await closing;
      // the first event that is still to be done is n = 3, at position 4
      expect((await checkpoint(tester, subscription)).position).toBe(3);

      kernel = await start();
      const again = kernel.get(Heard);
      await kernel.subscriptions.idle();
      expect(new Set([...heard.handled, ...again.handled]).size).toBe(40);
      expect(again.handled[0]).toBe(3);
    });

    it('which is written when the app closes: nothing that was done is done again', async () => {
      for (let n = 0; n < 20; n++) await tell(aThing(), n);
      await kernel.subscriptions.idle();
      await kernel.close();
      expect((await checkpoint(tester, subscription)).position).toBe(20);
      kernel = await start();
      await kernel.subscriptions.idle();
      expect(kernel.get(Heard).handled).toEqual([]);
    });

    it('does not move back when one write of it takes longer than the next', async () => {
      const database = kernel.get(Database);
      const write = database.relaxedTransaction.bind(database);
      const { opened, open } = gate();
      let slow = true;
      const written: Promise<unknown>[] = [];
      database.relaxedTransaction = async (work) => {
        if (!slow) return write(work);
        const writing = opened.then(() => write(work));
        written.push(writing);
        return writing;
      };
      await tell(aThing(), 1);
      // one of each subscription: the two of this test and the two of the kernel's sagas
      await eventually(() => written.length === 4);
      slow = false;
      await tell(aThing(), 2);
      const isAt = (position: number) => async () => (await checkpoint(tester, subscription)).position === position;
      // a second write, if it is not made to wait for the first
      await eventually(isAt(2), 500).catch(() => undefined);
      open();
      await Promise.all(written);
      await eventually(isAt(2), 3000);
    });

    it('which a replaced worker moves no more, as it keeps no letters', async () => {
      const { opened, open } = gate();
      heard.on = async ({ n }) => {
        await opened;
        if (n === 2) throw new Error('bad');
      };
      await tell(aThing(), 1);
      await tell(aThing(), 2);
      await eventually(() => heard.begun.length === 2);
      await takeLease(tester, subscription);
      const before = await checkpoint(tester, subscription);
      open();
      await eventually(() => heard.handled.length === 1 && heard.begun.length === 4);
      await kernel.close();
      expect(heard.begun).toEqual([1, 2, 2, 2]);
      expect(await checkpoint(tester, subscription)).toEqual(before);
      const { rows } = await tester.query('select * from subscriptions.dead_letters');
      expect(rows).toEqual([]);
      await giveBackLease(tester, subscription);
      kernel = await start();
      await kernel.subscriptions.idle();
      expect(kernel.get(Heard).handled).toEqual([1, 2]);
    });
  });

  it('is refused when another has its name', async () => {
    const twins = startKernel(db.url, [Heard, HeardAsWell]);
    await expect(twins).rejects.toThrow('Two subscriptions are named test.heard');
  });
});
