import { Logger } from '@nestjs/common';
import type { IEventHandler } from '@nestjs/cqrs';
import type { Client } from 'pg';
import { Database } from '../../../src/kernel/database/database';
import { AggregateStore } from '../../../src/kernel/event-store/aggregate-store';
import { EventStore } from '../../../src/kernel/event-store/event-store';
import { EventType } from '../../../src/kernel/event-store/event-type';
import { deriveId } from '../../../src/kernel/ids';
import { Reaction } from '../../../src/kernel/subscriptions/reaction';
import type { RetryOptions } from '../../../src/kernel/subscriptions/runner';
import { defaultRetry } from '../../../src/kernel/subscriptions/subscriptions';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, connect, eventually, forgetEverything, happened, type Kernel, startKernel } from '../support';

@EventType('thing.happened')
class ThingHappened {
  readonly n!: number;
  readonly thingId!: string;
}

@Reaction({ name: 'test.impatient' }, ThingHappened)
class Impatient implements IEventHandler<ThingHappened> {
  readonly begun: number[] = [];
  readonly handled: number[] = [];
  on: (event: ThingHappened) => unknown = () => undefined;

  async handle(event: ThingHappened): Promise<void> {
    this.begun.push(event.n);
    await this.on(event);
    this.handled.push(event.n);
  }
}

interface Awarded {
  readonly type: 'points.awarded';
}

class PointStreams extends AggregateStore<number, 'award', Awarded> {
  constructor(events: EventStore) {
    const decide = (_: 'award', points: number): Awarded[] => (points === 0 ? [{ type: 'points.awarded' }] : []);
    super({ type: 'loyalty-account', initial: 0, decide, evolve: (points) => points + 1 }, events);
  }
}

const subscription = 'test.impatient';
const busy = (retryAfterMs = 1) => Object.assign(new Error('Circuit breaker "bank" is open'), { retryAfterMs });

describe('a reaction', () => {
  let db: TestDatabase;
  let tester: Client;
  let kernel: Kernel;
  let reaction: Impatient;

  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
    await tester.query('create schema shop; create table shop.counters (name text primary key, value integer)');
    await tester.query(`insert into shop.counters values ('a', 0)`);
  });
  beforeEach(() => forgetEverything(tester));
  afterEach(async () => {
    jest.restoreAllMocks();
    await kernel.close();
  });
  afterAll(async () => {
    await tester.end();
    await db.drop();
  });

  const start = async (retry: Partial<RetryOptions> = {}): Promise<void> => {
    kernel = await startKernel(db.url, [Impatient], retry);
    reaction = kernel.get(Impatient);
  };
  const tell = (...ns: number[]) => Promise.all(ns.map((n) => kernel.store.append(aThing(), [happened(n)])));
  const letters = () => kernel.deadLetters.list({ subscription }, 10);
  const waiting = async () => {
    const status = (await kernel.subscriptions.status()).find(({ name }) => name === subscription)!;
    const work = kernel.subscriptions.work().find(({ name }) => name === subscription)!;
    expect(work.waiting).toBe(status.waiting);
    return status.waiting;
  };
  const warnings = () => {
    const lines: string[] = [];
    jest.spyOn(Logger.prototype, 'warn').mockImplementation((line: string) => void lines.push(line));
    return () => lines.filter((line) => line.includes('waiting'));
  };

  describe('that names its aggregate by the id of the one that it reacts to', () => {
    const award = (idOf: (thing: string) => string) => {
      const points = new PointStreams(kernel.store);
      reaction.on = ({ thingId }) => points.decide(idOf(thingId), 'award');
    };
    const tellOf = async () => {
      const thing = aThing();
      await kernel.store.append(thing, [happened(1, { thingId: thing.id })]);
      return thing.id;
    };

    it('has a dead letter at the first try, which says what to do', async () => {
      await start(defaultRetry);
      award((thingId) => thingId);
      const id = await tellOf();
      const letter = await eventually(async () => (await letters())[0]);
      expect(reaction.begun).toEqual([1]);
      expect(letter).toMatchObject({ state: 'failed', partition: id, attempts: 1 });
      expect(letter.error).toContain(
        `AggregateTypeError: Id ${id} belongs to an aggregate of type "thing", not "loyalty-account". ` +
          'Ids are unique over all aggregate types: derive an id of your own, for example deriveId(id, "loyalty-account")',
      );
    });

    it('works with an id that it derives, as the error says', async () => {
      await start();
      award((thingId) => deriveId(thingId, 'loyalty-account'));
      const id = await tellOf();
      await kernel.subscriptions.idle();
      expect(await kernel.store.getEvents(deriveId(id, 'loyalty-account'))).toHaveLength(1);
      expect(await letters()).toEqual([]);
    });
  });

  describe('whose target asks for patience', () => {
    it('has a dead letter when patience has run out, and others go on', async () => {
      await start({ patienceMs: 300 });
      reaction.on = ({ n }) => {
        if (n === 1) throw busy();
      };
      await tell(1, 2);
      await kernel.subscriptions.idle();
      expect(reaction.handled).toEqual([2]);
      const [letter, ...others] = await letters();
      expect(others).toEqual([]);
      expect(letter).toMatchObject({ state: 'failed' });
      expect(letter!.error).toContain('Circuit breaker "bank" is open');
      // far more often than it would be tried for an error of its own
      expect(letter!.attempts).toBe(reaction.begun.filter((n) => n === 1).length);
      expect(letter!.attempts).toBeGreaterThan(3);
      expect(await waiting()).toBe(0);
    });

    it('waits 24 hours by default', () => {
      expect(defaultRetry.patienceMs).toBe(24 * 60 * 60 * 1000);
    });

    it('shows how many events wait, and warns once, not for each', async () => {
      const warned = warnings();
      await start();
      let open = true;
      reaction.on = () => {
        if (open) throw busy();
      };
      await tell(1, 2, 3);
      await eventually(async () => (await waiting()) === 3);
      await eventually(() => reaction.begun.length > 30);
      expect(warned()).toEqual(['1 event is waiting, the oldest for 0 s: Circuit breaker "bank" is open']);
      open = false;
      await kernel.subscriptions.idle();
      expect(await waiting()).toBe(0);
    });

    it('warns again a minute later', async () => {
      const warned = warnings();
      await start();
      reaction.on = () => {
        throw busy();
      };
      await tell(1, 2);
      await eventually(async () => (await waiting()) === 2);
      expect(warned()).toHaveLength(1);
      const now = performance.now.bind(performance);
      jest.spyOn(performance, 'now').mockImplementation(() => now() + 59_000);
      const before = reaction.begun.length;
      await eventually(() => reaction.begun.length > before + 10);
      expect(warned()).toHaveLength(1);
      jest.spyOn(performance, 'now').mockImplementation(() => now() + 75_000);
      await eventually(() => warned().length > 1);
      expect(warned()[1]).toMatch(/^2 events are waiting, the oldest for (7[5-9]|8\d) s: Circuit breaker/);
      reaction.on = () => undefined;
      jest.restoreAllMocks();
    });
  });

  describe('for which the database is not ready', () => {
    it.each([
      ['is away', 'ECONNREFUSED'],
      ['chose it as the victim of a deadlock', '40P01'],
      ['could not serialize it', '40001'],
      ['did not give it a lock in time', '55P03'],
    ])('waits for as long as it takes when it %s', async (_, code) => {
      await start({ attempts: 2, patienceMs: 1 });
      let left = 15;
      reaction.on = () => {
        if (left-- > 0) throw Object.assign(new Error('not now'), { code });
      };
      await tell(1);
      await kernel.subscriptions.idle();
      expect(reaction.begun).toHaveLength(16);
      expect(reaction.handled).toEqual([1]);
      expect(await letters()).toEqual([]);
    });

    it('waits for a row that somebody else holds', async () => {
      await start({ attempts: 1 });
      reaction.on = () =>
        kernel.get(Database).relaxedTransaction(async (client) => {
          await client.query(`set local lock_timeout = '20ms'`);
          await client.query('update shop.counters set value = value + 1');
        });
      await tester.query('begin; update shop.counters set value = value + 1');
      await tell(1);
      await eventually(async () => reaction.begun.length > 3 && (await waiting()) === 1);
      await tester.query('rollback');
      await kernel.subscriptions.idle();
      expect(await letters()).toEqual([]);
      expect((await tester.query('select value from shop.counters')).rows).toEqual([{ value: 1 }]);
    });
  });
});
