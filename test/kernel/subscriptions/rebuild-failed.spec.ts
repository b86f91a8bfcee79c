import { Logger } from '@nestjs/common';
import type { Client } from 'pg';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, connect, eventually, forgetEverything, happened, type Kernel, startKernel } from '../support';
import { foldedSums, rebuilding, rebuilt, rebuildOfSums, Sums, sums, sumsTable } from './sums';

const inTheWay = 'create materialized view test_view.kept as select * from test_view.sums';

describe('a rebuild that fails', () => {
  let db: TestDatabase;
  let tester: Client;
  let report: Client;
  let kernel: Kernel;
  const kernels: Kernel[] = [];

  const start = async (): Promise<Kernel> => {
    const started = await startKernel(db.url, [Sums], { maxBackoffMs: 100 });
    kernels.push(started);
    return started;
  };
  beforeAll(async () => {
    db = await createDatabase();
    [tester, report] = [await connect(db.url), await connect(db.url)];
    await tester.query(sumsTable);
  });
  beforeEach(async () => {
    await forgetEverything(tester);
    await tester.query('truncate test_view.sums');
    kernel = await start();
    await kernel.store.append(aThing(), [happened(1), happened(2)]);
    await kernel.subscriptions.idle();
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    rebuildOfSums.before = () => undefined;
    await report.query('rollback');
    await Promise.all(kernels.splice(0).map((each) => each.close()));
    await tester.query('drop materialized view if exists test_view.kept; drop table if exists test_view.sums__rebuild');
  });
  afterAll(async () => {
    await Promise.all([report.end(), tester.end()]);
    await db.drop();
  });

  const failure = (of = kernel) => eventually(async () => (await rebuilding(of))?.error);
  /** Built, but for the swap. */
  const built = async () => {
    await report.query('begin');
    await report.query('select from test_view.sums');
    await kernel.subscriptions.rebuild('test.sums');
    await eventually(async () => (await rebuilding(kernel))?.lag === 0);
  };
  const left = async () => {
    const { rows } = await tester.query(
      `select to_regclass('test_view.sums__rebuild') as shadow,
              (select count(*)::int from subscriptions.checkpoints where name = 'test.sums/rebuild') as checkpoints,
              (select count(*)::int from subscriptions.dead_letters where subscription = 'test.sums/rebuild') as letters`,
    );
    return rows[0] as object;
  };
  const nothing = { shadow: null, checkpoints: 0, letters: 0 };

  it('at its beginning says why, and that it has done nothing yet', async () => {
    await tester.query(inTheWay);
    await kernel.subscriptions.rebuild('test.sums');
    expect(await failure()).toBe('test_view.sums cannot be rebuilt: in the way is materialized view test_view.kept');
    await kernel.store.append(aThing(), [happened(3)]);
    await kernel.subscriptions.idle();
    expect(await rebuilding(kernel)).toMatchObject({ position: 0, lag: 3 });
    expect((await kernel.subscriptions.status()).find(({ name }) => name === 'test.sums')).toMatchObject({
      error: null,
      lag: 0,
    });
  });

  it('at the swap says why, and follows the log', async () => {
    await built();
    await tester.query(inTheWay);
    await report.query('commit');
    expect(await failure()).toMatch(/materialized view test_view\.kept/);
    const { position } = await kernel.store.append(aThing(), [happened(3)]);
    await eventually(async () => (await rebuilding(kernel))?.position === position);
    expect(await rebuilding(kernel)).toMatchObject({ lag: 0, error: expect.stringContaining('kept') as string });
  });

  it('is tried again until it succeeds, by another process if need be', async () => {
    await built();
    await tester.query(inTheWay);
    await report.query('commit');
    await failure();
    await kernel.close();
    const next = await start();
    await failure(next);
    await tester.query('drop materialized view test_view.kept');
    await rebuilt(next);
    expect(await sums(tester)).toEqual(await foldedSums(tester));
    expect(await left()).toEqual(nothing);
  });

  it('no longer does while it only waits for a report', async () => {
    await built();
    await tester.query(inTheWay);
    await failure();
    await tester.query('drop materialized view test_view.kept');
    await eventually(async () => (await rebuilding(kernel))?.error === null);
    await report.query('commit');
    await rebuilt(kernel);
  });

  it('is logged once a minute, however often it is tried', async () => {
    // the kernels of tests have no logger: this is what they would say to one
    const said = jest.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
    await tester.query(inTheWay);
    await kernel.subscriptions.rebuild('test.sums');
    await failure();
    const { retries } = (await rebuilding(kernel))!;
    await eventually(async () => (await rebuilding(kernel))!.retries > retries + 5);
    expect(said.mock.calls.map(([text]) => text as string)).toEqual([
      expect.stringMatching(/^The rebuild failed, trying again: .*test_view\.kept$/),
    ]);
  });

  it('begins anew when an operator asks for it', async () => {
    await tester.query(inTheWay);
    await kernel.subscriptions.rebuild('test.sums');
    await failure();
    await kernel.subscriptions.pause('test.sums/rebuild', 'user:operator');
    await eventually(async () => (await rebuilding(kernel))?.owner === null);
    await tester.query('drop materialized view test_view.kept');
    await kernel.subscriptions.rebuild('test.sums');
    expect(await rebuilding(kernel)).toMatchObject({ error: null, pausedBy: null, position: 0 });
    await rebuilt(kernel);
  });

  it('for an event that it cannot digest has another try at that when it begins anew', async () => {
    rebuildOfSums.before = () => {
      throw new Error('not yet mended');
    };
    await built();
    await eventually(async () => ((await rebuilding(kernel))?.deadLetters ?? 0) > 0);
    rebuildOfSums.before = () => undefined;
    await kernel.subscriptions.rebuild('test.sums');
    await report.query('commit');
    await rebuilt(kernel);
    expect(await sums(tester)).toEqual(await foldedSums(tester));
    const { rows } = await tester.query('select subscription from subscriptions.dead_letters');
    expect(rows).toEqual([]);
  });

  it('can be abandoned: nothing is left of it, and the live view goes on', async () => {
    rebuildOfSums.before = () => {
      throw new Error('not to be mended');
    };
    await built();
    await eventually(async () => ((await rebuilding(kernel))?.deadLetters ?? 0) > 0);
    await tester.query(inTheWay);
    await failure();
    const before = await sums(tester);
    await kernel.subscriptions.abandonRebuild('test.sums', 'user:operator');
    expect(await left()).toEqual(nothing);
    expect(await sums(tester)).toEqual(before);
    await kernel.store.append(aThing(), [happened(3)]);
    await kernel.subscriptions.idle();
    expect(await sums(tester)).toEqual(await foldedSums(tester));

    await tester.query('drop materialized view test_view.kept');
    await report.query('commit');
    rebuildOfSums.before = () => undefined;
    await kernel.subscriptions.rebuild('test.sums');
    await rebuilt(kernel);
    expect(await left()).toEqual(nothing);
  });

  it('cannot be abandoned when there is none', async () => {
    for (const name of ['test.sums', 'test.nothing']) {
      await expect(kernel.subscriptions.abandonRebuild(name, 'user:operator')).rejects.toMatchObject({
        code: 'rebuild-unknown',
      });
    }
  });
});
