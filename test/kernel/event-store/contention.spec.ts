import type { Client } from 'pg';
import type { EntityManager } from 'typeorm';
import { currentContext, ExecutionContext, runInContext } from '../../../src/kernel/context';
import { ContentionError } from '../../../src/kernel/event-store/errors';
import type { EventStore } from '../../../src/kernel/event-store/event-store';
import { newId } from '../../../src/kernel/ids';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, connect, happened, type OpenStore, openStore } from '../support';

describe('a transaction that Postgres rolls back because of others', () => {
  let db: TestDatabase;
  let opened: OpenStore;
  let store: EventStore;
  let tester: Client;

  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
    await tester.query('create schema shop; create table shop.counters (name text primary key, value integer)');
    opened = await openStore(db.url);
    store = opened.store;
  });
  beforeEach(() => tester.query(`truncate shop.counters; insert into shop.counters values ('a', 0), ('b', 0)`));
  afterAll(async () => {
    await tester.end();
    await opened.close();
    await db.drop();
  });

  const increment = (manager: EntityManager, name: string) =>
    manager.query('update shop.counters set value = value + 1 where name = $1', [name]);
  const values = async () => {
    const { rows } = await tester.query<{ value: number }>('select value from shop.counters order by name');
    return rows.map(({ value }) => value);
  };
  /** Fails with this SQLSTATE in its first `times` runs. */
  const failing = (code: string, times: number) => {
    const thing = aThing();
    const ids: string[] = [];
    const work = () =>
      store.transaction(async (manager) => {
        ids.push(currentContext().nextId('line'));
        await increment(manager, 'a');
        if (ids.length <= times) await manager.query(`do $$ begin raise sqlstate '${code}'; end $$`);
        return { result: ids.length, announce: [{ aggregate: thing, events: [happened(1)] }] };
      });
    return { thing, ids, work };
  };

  it('is repeated when two sessions deadlock, and both take effect once', async () => {
    let runs = 0;
    let arrived = 0;
    let bothHaveOne = () => {};
    const meeting = new Promise<void>((resolve) => (bothHaveOne = resolve));
    const lockBoth = (first: string, second: string, thing = aThing()) =>
      store.transaction(async (manager) => {
        runs++;
        await increment(manager, first);
        if (++arrived === 2) bothHaveOne();
        await meeting;
        await increment(manager, second);
        return { result: thing, announce: [{ aggregate: thing, events: [happened(1)] }] };
      });
    const things = await Promise.all([lockBoth('a', 'b'), lockBoth('b', 'a')]);
    expect(runs).toBe(3);
    expect(await values()).toEqual([2, 2]);
    for (const { id } of things) expect(await store.getEvents(id)).toHaveLength(1);
  });

  it.each([
    ['a deadlock', '40P01'],
    ['a serialization failure', '40001'],
    ['a lock timeout', '55P03'],
  ])('is repeated after %s, with the same ids', async (_, code) => {
    const { thing, ids, work } = failing(code, 2);
    const context = new ExecutionContext('user:1', newId());
    expect(await runInContext(context, work)).toBe(3);
    expect(new Set(ids).size).toBe(1);
    expect(await values()).toEqual([1, 0]);
    const [event, ...others] = await store.getEvents(thing.id);
    expect(others).toEqual([]);
    // As if it had gone well the first time: a repeat of the request finds what was done.
    const { id: first } = new ExecutionContext('user:1', context.seed).nextCommand(thing.id, 'thing.happened');
    expect(event).toMatchObject({ id: first, metadata: { actor: 'user:1', commandId: first } });
    expect(context.lastPosition).toBe(event!.position);
    expect(context.nextId('line')).not.toBe(ids[0]);
  });

  it('is given up after a few tries with an error that says when to come back', async () => {
    const { thing, ids, work } = failing('40P01', Infinity);
    const error: unknown = await work().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ContentionError);
    expect(error).toMatchObject({ retryAfterMs: 1000, cause: { code: '40P01' } });
    expect(ids.length).toBeGreaterThan(2);
    expect(ids.length).toBeLessThan(10);
    expect(await values()).toEqual([0, 0]);
    expect(await store.getEvents(thing.id)).toEqual([]);
  });

  it('is not repeated for any other error', async () => {
    const { ids, work } = failing('22012', Infinity);
    await expect(work()).rejects.toMatchObject({ code: '22012' });
    expect(ids).toHaveLength(1);
  });
});
