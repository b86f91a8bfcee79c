import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { defaultRetry } from '../../../src/kernel/subscriptions/subscriptions';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, connect, eventually, happened, type Kernel, startKernel } from '../support';
import { foldedSums, rebuilding, rebuilt, Sums, sums, sumsTable } from './sums';

/** How long the report keeps its transaction open, in ms. */
const reportMs = 6000;

/** How long it took each time, in ms. */
async function timed<T>(times: number[], work: () => Promise<T>): Promise<T> {
  const began = performance.now();
  const result = await work();
  times.push(performance.now() - began);
  return result;
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

    let writing = true;
    const reads: number[] = [];
    const written: number[] = [];
    const read = async (table: string) => {
      const reader = await connect(db.url);
      while (writing) {
        await timed(reads, () => reader.query(`select count(*), sum(sum) from ${table}`));
        await delay(5);
      }
      await reader.end();
    };
    const write = async () => {
      for (let n = 0; writing; n++) {
        const { position } = await kernel.store.append(aThing(), [happened(n)]);
        expect(await timed(written, () => kernel.subscriptions.projected(position, 20_000))).toBe(true);
        await delay(20);
      }
    };
    const load = [read('test_view.sums'), read('test_view.report'), write(), write()];

    const until = performance.now() + reportMs;
    await eventually(() => performance.now() > until, reportMs + 10_000);
    const waiting = (await rebuilding(kernel))!;
    expect(waiting.error).toBeNull();
    expect(waiting.retries + waiting.handled).toBeGreaterThan(50);
    await report.query('commit');
    const ended = performance.now();
    await rebuilt(kernel);
    const swappedAfterMs = performance.now() - ended;
    writing = false;
    await Promise.all(load);
    await kernel.subscriptions.idle();
    expect(swappedAfterMs).toBeLessThan(defaultRetry.maxBackoffMs + 5000);
    expect(p99(reads)).toBeLessThan(150);
    expect(p99(written)).toBeLessThan(500);
    expect(await sums(tester)).toEqual(await foldedSums(tester));
  }, 60_000);
});
