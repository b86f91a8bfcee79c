import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { defaultRetry } from '../../../src/kernel/subscriptions/subscriptions';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, connect, eventually, happened, type Kernel, startKernel } from '../support';
import { foldedSums, rebuilding, rebuilt, Sums, sums, sumsTable } from './sums';

/** How long the report keeps its transaction open, in ms. */
const reportMs = 6000;

/** Clients that come every 40 ms, however long those before them wait. */
class Arrivals {
  /** How long each waited for its answer, in ms. */
  readonly waits: number[] = [];
  private open = true;

  async serve(work: () => Promise<unknown>): Promise<void> {
    for (let due = performance.now(); this.open; due += 40) {
      await delay(Math.max(0, due - performance.now()));
      await work();
      this.waits.push(performance.now() - due);
    }
  }

  end(): void {
    this.open = false;
  }
}

const p99 = (times: readonly number[]) => times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)]!;

describe('the swap of a rebuilt view', () => {
  let db: TestDatabase;
  let tester: Client;
  let report: Client;
  let kernel: Kernel;

  beforeAll(async () => {
    db = await createDatabase();
    [tester, report] = [await connect(db.url), await connect(db.url)];
    await tester.query(`${sumsTable}; create view test_view.report as select id, sum from test_view.sums`);
    kernel = await startKernel(db.url, [Sums], defaultRetry);
  });
  afterAll(async () => {
    await kernel.close();
    await report.end();
    await tester.end();
    await db.drop();
  });

  it('waits for a report to end, and neither readers nor writers wait with it', async () => {
    await Promise.all(Array.from({ length: 50 }, (_, n) => kernel.store.append(aThing(), [happened(n)])));
    await kernel.subscriptions.idle();
    await report.query('begin');
    await report.query('select count(*) from test_view.sums');
    await kernel.subscriptions.rebuild('test.sums');

    const [reads, writes] = [new Arrivals(), new Arrivals()];
    const read = async (table: string) => {
      const reader = await connect(db.url);
      await reads.serve(() => reader.query(`select count(*), sum(sum) from ${table}`)).finally(() => reader.end());
    };
    const write = () =>
      writes.serve(async () => {
        const { position } = await kernel.store.append(aThing(), [happened(1)]);
        expect(await kernel.subscriptions.projected(position, 20_000)).toBe(true);
      });
    const load = [read('test_view.sums'), read('test_view.report'), write(), write()];

    let swappedAfterMs = Infinity;
    try {
      const until = performance.now() + reportMs;
      await eventually(() => performance.now() > until, reportMs + 10_000);
      const waiting = (await rebuilding(kernel))!;
      expect(waiting.error).toBeNull();
      expect(waiting.handled).toBeGreaterThan(20);
      await report.query('commit');
      const ended = performance.now();
      await rebuilt(kernel);
      swappedAfterMs = performance.now() - ended;
    } finally {
      reads.end();
      writes.end();
      await Promise.all(load);
    }
    await kernel.subscriptions.idle();
    expect(swappedAfterMs).toBeLessThan(10_000);
    // 10 to 20 ms on a quiet machine; 5 s when the swap stands in the queue for its lock
    expect(p99(reads.waits)).toBeLessThan(1000);
    expect(p99(writes.waits)).toBeLessThan(2000);
    expect(await sums(tester)).toEqual(await foldedSums(tester));
  }, 60_000);
});
