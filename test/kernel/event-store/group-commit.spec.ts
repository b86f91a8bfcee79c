import { Pool } from 'pg';
import { OverloadError } from '../../../src/kernel/event-store/errors';
import type { Aggregate } from '../../../src/kernel/event-store/event';
import type { EventStore } from '../../../src/kernel/event-store/event-store';
import { type Append, GroupCommit } from '../../../src/kernel/event-store/group-commit';
import { newId } from '../../../src/kernel/ids';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, eventually, gate, numbers, type OpenStore, openStore } from '../support';

describe('group commit', () => {
  let db: TestDatabase;
  let opened: OpenStore;
  let store: EventStore;

  beforeAll(async () => {
    db = await createDatabase();
    opened = await openStore(db.url);
    ({ store } = opened);
  });
  afterAll(async () => {
    await opened.close();
    await db.drop();
  });

  it('sends again when the line broke after the commit and before the answer', async () => {
    const { pool } = opened.database;
    const query = pool.query.bind(pool) as (config: unknown) => Promise<unknown>;
    let broken = false;
    const flaky = {
      async query(config: unknown) {
        const result = await query(config);
        if (broken) return result;
        broken = true;
        throw new Error('Connection terminated unexpectedly');
      },
    } as unknown as Pool;
    const append = appendOf(aThing(), '{"n":1}');
    expect(await new GroupCommit(flaky).append(append)).toMatchObject({ status: 'duplicate', version: 1 });
    expect(await store.getEvents(append.aggregate.id)).toHaveLength(1);
  });

  describe('with several batches on their way', () => {
    /** The real pool, but for its first statement: that one is held up. */
    const heldUp = () => {
      const { opened: go, open } = gate();
      const sizes: number[] = [];
      const pool = {
        async query(config: { values: unknown[][] }) {
          const nth = sizes.push(config.values[0]!.length);
          if (nth === 1) await go;
          return opened.database.pool.query(config as never);
        },
      } as unknown as Pool;
      return { commit: new GroupCommit(pool), sizes, open };
    };

    it('keeps the order in which it was asked for changes of one aggregate', async () => {
      const { commit, sizes, open } = heldUp();
      const thing = aThing();
      const tellTo = (aggregate: Aggregate, n: number) => commit.append(appendOf(aggregate, `{"n":${n}}`));
      const first = tellTo(thing, 1);
      await eventually(() => sizes.length === 1);
      const later = [2, 3].map((n) => tellTo(thing, n));
      const others = await Promise.all(Array.from({ length: 50 }, (_, n) => tellTo(aThing(), n)));
      expect(others.every(({ status }) => status === 'ok')).toBe(true);
      expect(await store.getEvents(thing.id)).toEqual([]);
      open();
      await Promise.all([first, ...later]);
      expect(numbers(await store.getEvents(thing.id))).toEqual([1, 2, 3]);
    });

    it('does not send a repeat beside the command itself', async () => {
      const { commit, sizes, open } = heldUp();
      const command = appendOf(aThing());
      const first = commit.append(command);
      await eventually(() => sizes.length === 1);
      const again = commit.append(command);
      await Promise.all(Array.from({ length: 50 }, () => commit.append(appendOf(aThing()))));
      expect(sizes).toEqual([1, 50]);
      open();
      expect(await Promise.all([first, again])).toMatchObject([{ status: 'ok' }, { status: 'duplicate' }]);
    });

    it('has nobody wait for one that does not come back', async () => {
      const { commit, sizes, open } = heldUp();
      const stuck = commit.append(appendOf(aThing()));
      await eventually(() => sizes.length === 1);
      for (const n of [2, 3]) {
        expect(await commit.append(appendOf(aThing()))).toMatchObject({ status: 'ok' });
        expect(sizes).toHaveLength(n);
      }
      open();
      await stuck;
    });

    it('shares many among them, and has few wait for the next one', async () => {
      const { commit, sizes, open } = heldUp();
      const many = Array.from({ length: 100 }, () => commit.append(appendOf(aThing())));
      await eventually(() => sizes.length === 2);
      expect(sizes).toEqual([50, 50]);
      await many[99];
      const few = Array.from({ length: 3 }, () => commit.append(appendOf(aThing())));
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(sizes).toHaveLength(2);
      open();
      await Promise.all([...many, ...few]);
      expect(sizes).toEqual([50, 50, 3]);
    });
  });

  describe('under more than it can take', () => {
    it('says so at once, by number and by size, and carries out what it accepted', async () => {
      const few = new GroupCommit(opened.database.pool, { queuedCommands: 10 });
      const results = await Promise.allSettled(Array.from({ length: 40 }, () => few.append(appendOf(aThing()))));
      const refused = results.filter((result) => result.status === 'rejected');
      expect(refused.map((result) => (result.reason as Error).constructor)).toEqual(refused.map(() => OverloadError));
      expect(refused).toHaveLength(30);
      expect(few.outcomes).toEqual({ ok: 10, conflict: 0, duplicate: 0, orphan: 0, failed: 0, refused: 30 });
      expect(few.queued).toBe(0);
      const small = new GroupCommit(opened.database.pool, { queuedBytes: 100_000 });
      const big = JSON.stringify({ text: 'x'.repeat(60_000) });
      const sizes = await Promise.allSettled(Array.from({ length: 4 }, () => small.append(appendOf(aThing(), big))));
      expect(sizes.map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'rejected', 'rejected']);
      await expect(few.append(appendOf(aThing()))).resolves.toMatchObject({ status: 'ok' });
      await expect(small.append(appendOf(aThing(), big))).resolves.toMatchObject({ status: 'ok' });
    });

    it('tells all who wait when the database stays away, soon and at once', async () => {
      let sent = 0;
      const away = {
        query: () => {
          sent++;
          return Promise.reject(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }));
        },
      } as unknown as Pool;
      const commit = new GroupCommit(away, { resendMs: 100 });
      const results = await Promise.allSettled(Array.from({ length: 33 }, () => commit.append(appendOf(aThing()))));
      expect(results.map((result) => result.status === 'rejected' && (result.reason as Error).message)).toEqual(
        Array.from({ length: 33 }, () => 'connect ECONNREFUSED'),
      );
      expect(commit.outcomes).toMatchObject({ ok: 0, failed: 33 });
      // two batches, each sent a few times: a lost server is no reason to halve them
      expect(sent).toBeLessThan(12);
    });
  });
});

function appendOf(aggregate: { type: string; id: string }, payload = '{}'): Append {
  const id = newId();
  const metadata = JSON.stringify({ commandId: id });
  return { aggregate, expected: 'any', events: [{ id, type: 'thing.happened', schemaVersion: 1, payload, metadata }] };
}
