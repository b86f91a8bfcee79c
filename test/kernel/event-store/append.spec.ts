import fc from 'fast-check';
import { Client } from 'pg';
import { DomainError } from '../../../src/kernel/domain-error';
import { currentContext, ExecutionContext, runInContext } from '../../../src/kernel/context';
import {
  AggregateTypeError,
  DuplicateCommandError,
  LostCauseError,
  VersionMismatch,
} from '../../../src/kernel/event-store/errors';
import { domainEvent, EventDataError, type StoredEvent, wireForm } from '../../../src/kernel/event-store/event';
import type { AppendOptions } from '../../../src/kernel/event-store/announcement';
import type { AppendResult, EventStore } from '../../../src/kernel/event-store/event-store';
import { faultOf } from '../../../src/kernel/fault';
import { deriveId, newId } from '../../../src/kernel/ids';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, connect, eventually, happened, kill, numbers, type OpenStore, openStore } from '../support';

describe('the event store', () => {
  let db: TestDatabase;
  let opened: OpenStore;
  let tester: Client;
  let store: EventStore;

  beforeAll(async () => {
    db = await createDatabase();
    opened = await openStore(db.url);
    store = opened.store;
    tester = await connect(db.url);
    await tester.query('create schema shop; create table shop.items (id uuid primary key, name text)');
    await tester.query('create table shop.labels (item uuid references shop.items deferrable initially deferred)');
  });
  afterEach(async () => {
    // what every test has to leave behind, whatever it did
    expect(await logGaps()).toEqual([]);
    expect(await streamGaps()).toEqual([]);
  });
  afterAll(async () => {
    await tester.end();
    await opened.close();
    await db.drop();
  });

  const logGaps = async () =>
    (
      await tester.query(`select position, nth from
      (select position, row_number() over (order by position) as nth from event_store.events) e where position <> nth`)
    ).rows;
  const streamGaps = async () =>
    (
      await tester.query(`select aggregate_id, version from (
      select aggregate_id, version, row_number() over (partition by aggregate_id order by version) as nth
      from event_store.events) e where version <> nth`)
    ).rows;
  const tell = (thing: { type: string; id: string }, n: number, options?: AppendOptions) =>
    store.append(thing, [happened(n)], options);

  describe('numbers events', () => {
    it('1, 2, 3 … within their stream', async () => {
      const thing = aThing();
      expect(await store.append(thing, [happened(1), happened(2)])).toMatchObject({ status: 'ok', version: 2 });
      expect(await store.append(thing, [happened(3)])).toMatchObject({ status: 'ok', version: 3 });
      const events = await store.getEvents(thing.id);
      expect(events.map((event) => event.version)).toEqual([1, 2, 3]);
      expect(numbers(events)).toEqual([1, 2, 3]);
    });

    it('without a gap over the log, although commands conflict, repeat and roll back', async () => {
      const before = await store.head();
      const things = Array.from({ length: 8 }, aThing);
      const outcomes = await Promise.allSettled(
        Array.from({ length: 200 }, (_, n) => {
          const thing = things[n % things.length]!;
          if (n % 5 === 1) return tell(thing, n, { expectedVersion: 1000 });
          if (n % 5 === 2) return tell(thing, n, { commandId: 'not a uuid' });
          if (n % 5 === 3) {
            return store.transaction(async () => {
              if (n % 2) throw new Error('changed my mind');
              return { result: undefined, announce: [{ aggregate: thing, events: [happened(n), happened(n)] }] };
            });
          }
          return tell(thing, n);
        }),
      );
      expect(outcomes.filter((outcome) => outcome.status === 'rejected')).toHaveLength(60);
      const events = await store.readLog(before, 1000);
      expect(events.map((event) => event.position)).toEqual(events.map((_, nth) => before + nth + 1));
      expect(events).toHaveLength(80 + 2 * 20);
    });

    it('in the order of their commits: who reads the log sees no event appear behind one that was there', async () => {
      const before = await store.head();
      const other = await openStore(db.url);
      let reading = true;
      const reader = (async () => {
        const seen: number[] = [];
        for (let last = before; reading || last < (await store.head());) {
          const events = await store.readLog(last, 100);
          seen.push(...events.map((event) => event.position));
          last = events.at(-1)?.position ?? last;
        }
        return seen;
      })();
      await Promise.all(
        Array.from({ length: 150 }, (_, n) => {
          if (n % 3 === 0) return tell(aThing(), n);
          if (n % 3 === 1) return other.store.append(aThing(), [happened(n)]);
          return store.transaction(async () => ({
            result: undefined,
            announce: [{ aggregate: aThing(), events: [happened(n)] }],
          }));
        }),
      );
      reading = false;
      expect(await reader).toEqual(Array.from({ length: 150 }, (_, nth) => before + nth + 1));
      await other.close();
    });

    it('from the requested version on', async () => {
      const thing = aThing();
      await store.append(thing, [happened(1), happened(2), happened(3)]);
      expect(numbers(await store.getEvents(thing.id, 2))).toEqual([2, 3]);
      expect(await store.getEvents(newId())).toEqual([]);
    });
  });

  describe('holds a writer to what it expects', () => {
    it.each([
      ['a number that is right', 2, 'ok', 3],
      ['a number that is too low', 1, 'conflict', 2],
      ['a number that is too high', 3, 'conflict', 2],
      ['no stream, though there is one', 'noStream', 'conflict', 2],
      ['anything', 'any', 'ok', 3],
    ] as const)('%s', async (_, expectedVersion, status, version) => {
      const thing = aThing();
      await store.append(thing, [happened(1), happened(2)]);
      expect(await tell(thing, 3, { expectedVersion })).toMatchObject({ status, version });
      expect(await store.getEvents(thing.id)).toHaveLength(version);
    });

    it.each([
      ['no stream', 'noStream', 'ok'],
      ['version 0, which is the same', 0, 'ok'],
      ['anything', 'any', 'ok'],
      ['a version', 1, 'conflict'],
    ] as const)('of a new stream: %s', async (_, expectedVersion, status) => {
      const thing = aThing();
      expect((await tell(thing, 1, { expectedVersion })).status).toBe(status);
      expect(await store.getEvents(thing.id)).toHaveLength(status === 'ok' ? 1 : 0);
    });

    it('and refuses an id that belongs to an aggregate of another type', async () => {
      const thing = aThing();
      await tell(thing, 1);
      const mistaken = { type: 'other', id: thing.id };
      for (const expectedVersion of ['any', 'noStream', 1] as const) {
        await expect(tell(mistaken, 2, { expectedVersion })).rejects.toThrow(AggregateTypeError);
        const work = store.transaction(() =>
          Promise.resolve({
            result: undefined,
            announce: [{ aggregate: mistaken, events: [happened(2)], expectedVersion }],
          }),
        );
        await expect(work).rejects.toThrow(`Id ${thing.id} belongs to an aggregate of type "thing", not "other".`);
      }
      expect(await store.getEvents(thing.id)).toHaveLength(1);
    });

    it('and lets one of many concurrent writers win, in one process as in several', async () => {
      const others = await Promise.all([openStore(db.url), openStore(db.url)]);
      const stores = [store, ...others.map((other) => other.store)];
      const thing = aThing();
      for (const expectedVersion of ['noStream', 1, 2] as const) {
        const results = await Promise.all(
          Array.from({ length: 30 }, (_, n) => stores[n % 3]!.append(thing, [happened(n)], { expectedVersion })),
        );
        expect(results.filter((result) => result.status === 'ok')).toHaveLength(1);
        expect(results.filter((result) => result.status === 'conflict')).toHaveLength(29);
      }
      expect(await store.getEvents(thing.id)).toHaveLength(3);
      await Promise.all(others.map((other) => other.close()));
    });

    it('and a conflict costs its neighbours in the batch nothing', async () => {
      const taken = aThing();
      await tell(taken, 1);
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, n) => tell(n % 2 ? taken : aThing(), n, { expectedVersion: 'noStream' })),
      );
      expect(results.map((result) => result.status)).toEqual(
        Array.from({ length: 20 }, (_, n) => (n % 2 ? 'conflict' : 'ok')),
      );
    });
  });

  describe('answers a repeated command with its first result', () => {
    it('of one event or several, also after the stream moved on', async () => {
      const thing = aThing();
      const commandId = newId();
      await tell(thing, 0);
      const first = await store.append(thing, [happened(1), happened(2), happened(3)], { commandId });
      await tell(thing, 4);
      const again = await store.append(thing, [happened(1), happened(2), happened(3)], { commandId });
      expect(again).toMatchObject({ status: 'duplicate', version: 4, position: first.position });
      expect(numbers(await store.getEvents(thing.id))).toEqual([0, 1, 2, 3, 4]);
      expect(await store.resultOf(commandId)).toEqual({ version: 4, position: first.position });
    });

    it('even if what it expects of the stream no longer holds', async () => {
      const thing = aThing();
      const options = { commandId: newId(), expectedVersion: 'noStream' } as const;
      const first = await tell(thing, 1, options);
      await tell(thing, 2);
      expect(await tell(thing, 1, options)).toMatchObject({
        ...first,
        recordedAt: expect.any(Date),
        status: 'duplicate',
      });
    });

    it('when it comes many times at once, to several processes', async () => {
      const other = await openStore(db.url);
      const thing = aThing();
      const commandId = newId();
      const results = await Promise.all(
        Array.from({ length: 40 }, (_, n) =>
          (n % 2 ? store : other.store).append(thing, [happened(1), happened(2)], { commandId }),
        ),
      );
      expect(results.filter((result) => result.status === 'ok')).toHaveLength(1);
      expect(new Set(results.map((result) => `${result.version}@${result.position}`)).size).toBe(1);
      expect(await store.getEvents(thing.id)).toHaveLength(2);
      await other.close();
    });

    it('because ids follow from the request: its repeat is the same commands', async () => {
      const [thing, another] = [aThing(), aThing()];
      const seed = newId();
      const request = () =>
        runInContext(new ExecutionContext('user:1', seed), async () => {
          const results = [await tell(thing, 1), await tell(thing, 2), await tell(another, 3)];
          return { results, last: currentContext().lastPosition };
        });
      const first = await request();
      expect(first.results.map((result) => result.status)).toEqual(['ok', 'ok', 'ok']);
      const again = await request();
      expect(again.results.map((result) => result.status)).toEqual(['duplicate', 'duplicate', 'duplicate']);
      expect(again.results.map((result) => result.position)).toEqual(first.results.map((result) => result.position));
      expect(again.last).toBe(first.last);
      expect(numbers(await store.getEvents(thing.id))).toEqual([1, 2]);
    });

    it('and takes nothing for a repeat that is about another aggregate, or appends something else', async () => {
      const commandId = newId();
      const [thing, elsewhere] = [aThing(), aThing()];
      await store.append(thing, [happened(1), happened(2)], { commandId });
      const wrong = [
        () => store.append(elsewhere, [happened(1), happened(2)], { commandId }),
        () => store.append(thing, [happened(1)], { commandId }),
        () => store.append(thing, [{ type: 'thing.ended' }, { type: 'thing.happened' }], { commandId }),
        () =>
          store.transaction(async () => ({
            result: undefined,
            announce: [{ aggregate: elsewhere, events: [happened(1), happened(2)], commandId }],
          })),
      ];
      for (const append of wrong) {
        await expect(append()).rejects.toThrow(DuplicateCommandError);
        await expect(append()).rejects.toThrow(
          `Command ${commandId} has been carried out as thing.happened, thing.happened of ${thing.id}, so it cannot`,
        );
      }
      expect(await store.getEvents(elsewhere.id)).toEqual([]);
      expect(await store.getEvents(thing.id)).toHaveLength(2);
    });

    it('whatever else was done, and in which order', async () => {
      const [thing, another] = [aThing(), aThing()];
      const seed = newId();
      const ended = { type: 'thing.ended' };
      const request = <R>(work: () => Promise<R>) => runInContext(new ExecutionContext('system:a', seed), work);
      await request(() => tell(thing, 1));
      // the code was changed before the repeat: it does something else to the same thing first
      const repeated = await request(async () => [
        await store.append(thing, [ended]),
        await tell(another, 2),
        await tell(thing, 1),
      ]);
      expect(repeated.map(({ status }) => status)).toEqual(['ok', 'ok', 'duplicate']);
      expect((await store.getEvents(thing.id)).map(({ eventType }) => eventType)).toEqual([
        'thing.happened',
        'thing.ended',
      ]);
    });

    it('by the id that the release before gave it, where it may have run, if it did the same', async () => {
      const thing = aThing();
      const seed = newId();
      const former = (n: number) => ({ commandId: deriveId(seed, `${thing.id}#${n}`) });
      await store.append(thing, [{ type: 'thing.begun' }], former(1));
      await store.append(thing, [happened(1)], former(2));
      const [cause] = await store.getEvents(thing.id);
      const context = new ExecutionContext('system:a', seed, seed, cause!.id, true);
      const statuses = await runInContext(context, async () => {
        const begun = await store.append(thing, [{ type: 'thing.begun' }]);
        await store.transaction(async () => ({
          result: undefined,
          announce: [{ aggregate: thing, events: [happened(1)] }],
        }));
        // the third command; the first that ends it
        const ended = await store.append(thing, [{ type: 'thing.ended' }]);
        return [begun.status, ended.status];
      });
      expect(statuses).toEqual(['duplicate', 'ok']);
      expect(await store.getEvents(thing.id)).toHaveLength(3);
    });

    it('and knows no result of a command that it never carried out', async () => {
      const thing = aThing();
      const commandId = newId();
      await tell(thing, 1);
      expect((await tell(thing, 2, { commandId, expectedVersion: 7 })).status).toBe('conflict');
      expect(await store.resultOf(commandId)).toBeUndefined();
      expect((await tell(thing, 2, { commandId, expectedVersion: 1 })).status).toBe('ok');
    });
  });

  describe('is written through append() only', () => {
    it.each([
      `insert into event_store.events select position + 1000000, gen_random_uuid(), gen_random_uuid(), aggregate_type, 1,
         event_type, schema_version, payload, metadata, recorded_at from event_store.events limit 1`,
      `update event_store.events set payload = '{}'`,
      `delete from event_store.events`,
      `truncate event_store.events`,
    ])('%s', async (statement) => {
      await tell(aThing(), 1);
      const before = await store.head();
      await expect(tester.query(statement)).rejects.toMatchObject({ code: '42501' });
      expect(await store.head()).toBe(before);
    });

    it('not even behind an append in the same transaction', async () => {
      const before = await store.head();
      await tester.query('begin');
      await tester.query(
        `select event_store.append(array[gen_random_uuid()], array['thing'], array[0], array[1], array[gen_random_uuid()],
           array['thing.happened'], array[1::smallint], array['{}'::jsonb], array['{}'::jsonb])`,
      );
      const direct = tester.query(
        `insert into event_store.events select position + 1, gen_random_uuid(), gen_random_uuid(), aggregate_type, 1,
           event_type, schema_version, payload, metadata, recorded_at from event_store.events order by position desc limit 1`,
      );
      await expect(direct).rejects.toMatchObject({ code: '42501' });
      await tester.query('rollback');
      expect(await store.head()).toBe(before);
    });
  });

  describe('in a transaction with rows of a module', () => {
    const names = async () =>
      (await tester.query<{ name: string }>('select name from shop.items order by name')).rows.map((row) => row.name);
    const insert = (name: string, aggregate = aThing(), fail?: Error, expectedVersion?: number | 'noStream') =>
      store.transaction(async (manager) => {
        await manager.query('insert into shop.items values ($1, $2)', [aggregate.id, name]);
        if (fail) throw fail;
        return {
          result: name,
          announce: [
            { aggregate, events: [happened(1)], expectedVersion },
            { aggregate, events: [happened(2)] },
          ],
        };
      });
    beforeEach(() => tester.query('delete from shop.items'));

    it('commits rows and events together', async () => {
      const thing = aThing();
      expect(await insert('tea', thing)).toBe('tea');
      expect(await names()).toEqual(['tea']);
      expect(numbers(await store.getEvents(thing.id))).toEqual([1, 2]);
    });

    it('keeps neither when the work fails', async () => {
      const thing = aThing();
      const refusal = new DomainError('conflict', 'no', 'no');
      await expect(insert('tea', thing, refusal)).rejects.toBe(refusal);
      expect(await names()).toEqual([]);
      expect(await store.getEvents(thing.id)).toEqual([]);
    });

    it('keeps neither when the version is not the expected one', async () => {
      const thing = aThing();
      await tell(thing, 0);
      await expect(insert('tea', thing, undefined, 5)).rejects.toThrow(VersionMismatch);
      await expect(insert('tea', thing, undefined, 'noStream')).rejects.toThrow('exists already');
      expect(await names()).toEqual([]);
      expect(await store.getEvents(thing.id)).toHaveLength(1);
    });

    it('keeps nothing of several aggregates when one of them has moved on', async () => {
      const [first, second] = [aThing(), aThing()];
      await tell(second, 0);
      const work = store.transaction(async () => ({
        result: undefined,
        announce: [
          { aggregate: first, events: [happened(1)] },
          { aggregate: second, events: [happened(1)], expectedVersion: 0 },
        ],
      }));
      await expect(work).rejects.toMatchObject({ name: 'VersionMismatch', expected: 0, actual: 1 });
      expect(await store.getEvents(first.id)).toEqual([]);
    });

    it('keeps neither when the rows are refused at the commit', async () => {
      const thing = aThing();
      const work = store.transaction(async (manager) => {
        await manager.query('insert into shop.labels values ($1)', [newId()]);
        return { result: undefined, announce: [{ aggregate: thing, events: [happened(1)] }] };
      });
      await expect(work).rejects.toMatchObject({ code: '23503' });
      expect(await store.getEvents(thing.id)).toEqual([]);
    });

    it('keeps neither when an event cannot be stored', async () => {
      const thing = aThing();
      const work = store.transaction(async (manager) => {
        await manager.query('insert into shop.items values ($1, $2)', [thing.id, 'tea']);
        return { result: undefined, announce: [{ aggregate: thing, events: [happened(NaN)] }] };
      });
      await expect(work).rejects.toThrow(EventDataError);
      expect(await names()).toEqual([]);
    });

    it('tells the listeners only what has been committed', async () => {
      const told: unknown[] = [];
      const other = await openStore(db.url);
      other.store.onCommitted((events) => told.push(...numbers(events)));
      const announce = [{ aggregate: aThing(), events: [happened(1)] }];
      await other.store.transaction(async () => ({ result: 0, announce }));
      const dropped = [...announce, { aggregate: aThing(), events: [happened(9)], expectedVersion: 4 }];
      await expect(other.store.transaction(async () => ({ result: 0, announce: dropped }))).rejects.toThrow();
      expect(told).toEqual([1]);
      await other.close();
    });
  });

  describe('goes on', () => {
    it('while foreign transactions stay open, however old', async () => {
      const idler = await connect(db.url);
      await idler.query(`begin isolation level repeatable read; select * from event_store.events`);
      await idler.query(`insert into shop.items values (gen_random_uuid(), 'open')`);
      const thing = aThing();
      const result = await tell(thing, 1);
      expect(result.status).toBe('ok');
      const seen = await store.readLog(result.position - 1, 10);
      expect(seen.map((event) => event.aggregateId)).toEqual([thing.id]);
      await idler.query('rollback');
      await idler.end();
    });

    it('over the death of its sessions, and loses and doubles nothing', async () => {
      const writers = 16;
      const each = 300;
      const before = await store.head();
      const shared = aThing();
      const told = new Map<string, AppendResult>();
      let writing = writers;
      const work = Array.from({ length: writers }, async () => {
        for (let n = 0; n < each; n++) {
          const commandId = newId();
          const events = n % 7 ? [happened(n)] : [happened(n), happened(n)];
          told.set(commandId, await store.append(n % 10 ? aThing() : shared, events, { commandId }));
        }
        writing--;
      });
      let kills = 0;
      for (let next = 200; writing > 0; next += 600) {
        await eventually(() => told.size >= next || writing === 0);
        kills += await kill(tester, 'orderloom/log');
      }
      await Promise.all(work);
      expect(kills).toBeGreaterThanOrEqual(5);
      expect([...told.values()].filter((result) => result.status === 'conflict')).toEqual([]);

      const events = await store.readLog(before, 10_000);
      const stored = new Map<string, StoredEvent[]>();
      for (const event of events) {
        const { commandId } = event.metadata;
        stored.set(commandId, [...(stored.get(commandId) ?? []), event]);
      }
      expect(stored.size).toBe(writers * each);
      expect(events).toHaveLength(writers * (each + Math.ceil(each / 7)));
      for (const [commandId, { version, position }] of told) {
        expect(stored.get(commandId)?.at(-1)).toMatchObject({ version, position });
      }
    });
  });

  describe('refuses what JSON or Postgres cannot carry, and nothing else of the batch', () => {
    it.each([
      ['a NUL', { text: 'a\u0000b' }],
      ['a NUL behind a backslash', { text: '\\\u0000' }],
      ['a NUL in the name of a member', { 'a\u0000': 1 }],
      ['the first half of a pair', { text: '\ud83d' }],
      ['the second half of a pair', { deep: [{ text: 'x\ude00' }] }],
      ['a bigint', { big: 1n }],
      ['a date that is none', { at: new Date('the day before') }],
      ['not a number', { n: NaN }],
      ['infinity', { deep: { n: -Infinity } }],
      ['an integer that has lost digits', { n: 2 ** 53 }],
    ])('%s', async (_, payload) => {
      const [before, after] = [tell(aThing(), 1), store.append(aThing(), [happened(1, payload)])];
      const neighbour = tell(aThing(), 2);
      await expect(after).rejects.toThrow(EventDataError);
      expect([await before, await neighbour]).toMatchObject([{ status: 'ok' }, { status: 'ok' }]);
    });

    it('anything else comes back as it went in (any JSON)', async () => {
      const storable = fc.json({ noUnicodeString: false }).map((text) => JSON.parse(text) as unknown);
      const samples = fc.sample(storable, { numRuns: 600, seed: 20 }).filter((value) => {
        try {
          return wireForm(value);
        } catch {
          return false;
        }
      });
      const thing = aThing();
      await store.append(
        thing,
        samples.map((value) => ({ type: 'thing.said', value })),
      );
      const events = await store.getEvents(thing.id);
      expect(samples.length).toBeGreaterThan(200);
      expect(events.map((event) => JSON.stringify(sorted(event.payload['value'])))).toEqual(
        samples.map((value) => JSON.stringify(sorted(value))),
      );
    });

    it('what only Postgres can tell is found by halving', async () => {
      const appends = Array.from({ length: 40 }, (_, n) =>
        tell(n === 17 || n === 18 ? { type: 'thing', id: 'x' } : aThing(), n),
      );
      const results = await Promise.allSettled(appends);
      const failed = results.flatMap((result, n) => (result.status === 'rejected' ? [n] : []));
      expect(failed).toEqual([17, 18]);
      expect(results[17]).toMatchObject({ reason: { code: '22P02' } });
    });

    it('what follows from an event that the log has not got, alone or with other changes; others in the batch go in', async () => {
      const lost = newId();
      const [orphan, other] = [aThing(), aThing()];
      const because = new ExecutionContext('system', newId(), 'story', lost);
      const outcomes = await Promise.allSettled([
        runInContext(because, () => tell(orphan, 1)),
        tell(other, 1),
        runInContext(because, () =>
          store.transaction(() =>
            Promise.resolve({ result: 1, announce: [{ aggregate: aThing(), events: [happened(1)] }] }),
          ),
        ),
      ]);
      expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected']);
      for (const each of [outcomes[0], outcomes[2]]) {
        const { reason } = each as PromiseRejectedResult;
        expect(reason).toBeInstanceOf(LostCauseError);
        expect(faultOf(reason)).toBe('infrastructure');
      }
      expect(await store.getEvents(orphan.id)).toEqual([]);
    });

    it('nothing to append is a mistake of the caller', async () => {
      await expect(store.append(aThing(), [])).rejects.toThrow('Nothing to append');
    });
  });

  describe('keeps', () => {
    it('who did it, why, and through which command', async () => {
      const thing = aThing();
      const before = aThing();
      await tell(before, 1);
      const [cause] = await store.getEvents(before.id);
      await runInContext(new ExecutionContext('user:7', newId(), 'story', cause!.id), () => tell(thing, 1));
      const [event] = await store.getEvents(thing.id);
      expect(event!.metadata).toEqual({
        actor: 'user:7',
        correlationId: 'story',
        causationId: cause!.id,
        commandId: event!.id,
      });
    });

    it('the wire form: dates as RFC 3339, no absent members, every character', async () => {
      const thing = aThing();
      const at = new Date('2026-02-03T04:05:06.789Z');
      const text = 'naïve 🧵 \u2028 \\u0000 " \n 漢字 \u{10ffff}';
      await store.append(thing, [
        { type: 'thing.said', at, absent: undefined, nothing: null, text, n: 2 ** 53 - 1, f: 0.1 } as never,
      ]);
      const [event] = await store.getEvents(thing.id);
      const payload = { at: '2026-02-03T04:05:06.789Z', nothing: null, text, n: 2 ** 53 - 1, f: 0.1 };
      expect(event!.payload).toEqual(payload);
      expect(domainEvent(event!)).toEqual({ type: 'thing.said', ...payload });
    });

    it('and hands its own commits over exactly as they can be read', async () => {
      const other = await openStore(db.url);
      const told: unknown[] = [];
      other.store.onCommitted((events) => told.push(...events));
      const thing = aThing();
      const commandId = newId();
      await other.store.append(thing, [happened(1, { at: new Date(), absent: undefined }), happened(2)], { commandId });
      await other.store.append(thing, [happened(3)], { expectedVersion: 77 });
      await other.store.append(thing, [happened(1), happened(2)], { commandId });
      expect(told).toEqual(await other.store.getEvents(thing.id));
      await other.close();
    });
  });
});

/** jsonb keeps no order of members. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => [key, sorted(member)]);
}
