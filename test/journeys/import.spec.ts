import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventStore } from '../../src/kernel/event-store/event-store';
import { importFile } from '../../src/tools/import/importer';
import { adminPassword, startApp, type TestApp } from '../support/app';

/** Of the real file, the first 800 lines: invoices of 1 December 2010, credit notes among them. */
const lines = 800;
const expected = { done: 53, lines: 790, totalMinor: 2_078_832 };

describe('importing a history of real orders', () => {
  let shop: TestApp;
  let directory: string;
  let file: string;

  beforeAll(async () => {
    shop = await startApp();
    directory = await mkdtemp(join(tmpdir(), 'orderloom-import-'));
    file = join(directory, 'history.csv');
    const whole = await readFile(join(__dirname, '../data/online-retail-10k.csv'), 'utf8');
    await writeFile(
      file,
      whole
        .split('\n')
        .slice(0, lines + 1)
        .join('\n'),
    );
  });
  afterAll(async () => {
    await shop.close();
    await rm(directory, { recursive: true, force: true });
  });

  const run = (signal?: AbortSignal) =>
    importFile(file, {
      currency: 'GBP',
      url: shop.url,
      email: 'admin@orderloom.local',
      password: adminPassword,
      concurrency: 8,
      signal,
    });

  it('can be broken off half way', async () => {
    const stop = new AbortController();
    const running = run(stop.signal);
    // the first order has been placed by then
    while ((await shop.admin.get('/v1/orders?limit=1')).body.data.length === 0);
    stop.abort();
    expect((await running).interrupted).toBe(true);
  }, 60_000);

  it('goes on where it was broken off, and every order is delivered, paid and off the shelf to the penny', async () => {
    const summary = await run();
    expect(summary).toMatchObject({ ok: true, failures: [], orders: expected });
    // asked over the API: orders, lines, money taken, parcels delivered, shelves empty
    for (const { what, found, expected } of summary.check!.findings) expect([what, found]).toEqual([what, expected]);
  }, 60_000);

  it('changes nothing when it is run again', async () => {
    const log = shop.app.get(EventStore, { strict: false });
    await shop.settled();
    const head = await log.head();
    expect(await run()).toMatchObject({ ok: true, orders: expected });
    await shop.settled();
    expect(await log.head()).toBe(head);
  }, 60_000);
});
