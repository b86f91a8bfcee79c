import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventStore } from '../../src/kernel/event-store/event-store';
import { eventually } from '../kernel/support';
import { adminPassword, startApp, type TestApp } from '../support/app';

const root = join(__dirname, '../..');
/** Of the real file, its first 800 lines: what they come to is known from test/journeys/import.spec.ts. */
const sampleLines = 800;
const whole = { orders: 53, totalMinor: 2_078_832 };

jest.setTimeout(180_000);

/** The importer as a process of its own, as `npm run import` starts it. */
describe('three exports that overlap, each imported twice and killed once', () => {
  let shop: TestApp;
  let directory: string;
  const exports: Record<string, string> = {};
  const running: ChildProcess[] = [];

  beforeAll(async () => {
    shop = await startApp();
    directory = await mkdtemp(join(tmpdir(), 'orderloom-import-'));
    const text = await readFile(join(root, 'test/data/online-retail-10k.csv'), 'utf8');
    const [header, ...lines] = text.split('\n').slice(0, sampleLines + 1);
    const invoices = [...new Set(lines.map((line) => line.split(',')[0]!))];
    const part = (from: number, to: number) => invoices.slice(from * invoices.length, to * invoices.length);
    for (const [name, from, to] of [
      ['early', 0, 0.5],
      ['middle', 0.25, 0.8],
      ['late', 0.6, 1],
    ] as const) {
      const wanted = new Set(part(from, to));
      exports[name] = join(directory, `${name}.csv`);
      const kept = lines.filter((line) => wanted.has(line.split(',')[0]!));
      await writeFile(exports[name], [header, ...kept].join('\n'));
    }
  });
  afterAll(async () => {
    for (const child of running) child.kill('SIGKILL');
    await shop.close();
    await rm(directory, { recursive: true, force: true });
  });

  const start = (name: string) => {
    const options = ['--url', shop.url, '--report', join(directory, 'report.csv'), '--concurrency', '4'];
    const child = spawn(process.execPath, ['dist/src/tools/import.js', exports[name]!, ...options], {
      cwd: root,
      env: { PATH: process.env['PATH'], ADMIN_PASSWORD: adminPassword, TMPDIR: directory },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running.push(child);
    return child;
  };
  const run = async (name: string) => {
    const child = start(name);
    let out = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (out += text));
    }
    const [code] = (await once(child, 'close')) as [number | null];
    return { name, code, verdict: out.includes('file and server agree, to the last penny') ? 'agree' : out };
  };
  const done = (name: string) => ({ name, code: 0, verdict: 'agree' });
  const placed = async () => {
    const orders = await shop.admin.all('/v1/orders');
    return orders.filter(({ reference }) => reference !== null);
  };
  /** Kills it when it has placed some orders. */
  const kill = async (name: string) => {
    const before = (await placed()).length;
    const child = start(name);
    await eventually(async () => (await placed()).length >= before + 3, 60_000);
    child.kill('SIGKILL');
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
  };

  it('come to what one import of all comes to, with nothing left on sale', async () => {
    await kill('middle');
    // the goods of the orders that are still missing are on sale by now: another export must not take offence
    expect(await run('early')).toEqual(done('early'));
    await kill('late');
    expect(await run('middle')).toEqual(done('middle'));
    expect(await run('late')).toEqual(done('late'));

    await shop.settled();
    const orders = await placed();
    expect(orders).toHaveLength(whole.orders);
    expect(new Set(orders.map(({ reference }) => reference)).size).toBe(whole.orders);
    expect(orders.every(({ status }) => status === 'completed')).toBe(true);
    expect(orders.reduce((sum, { total }) => sum + total.amountMinor, 0)).toBe(whole.totalMinor);
    const products = await shop.admin.all('/v1/products');
    const imported = products.filter(({ price }) => price.currency === 'GBP');
    expect(imported.length).toBeGreaterThan(400);
    expect(imported.filter(({ available }) => available !== 0)).toEqual([]);
  });

  it('change nothing when they are imported again', async () => {
    const log = shop.app.get(EventStore, { strict: false });
    const head = await log.head();
    for (const name of ['late', 'early', 'middle']) expect(await run(name)).toEqual(done(name));
    await shop.settled();
    expect(await log.head()).toBe(head);
  });
});
