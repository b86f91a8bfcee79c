import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createDatabase, type TestDatabase } from '../support/database';
import { type Scrape, scrape } from '../support/metrics';
import { AppProcess, freePort } from './app-process';
import { Line } from './line';

jest.setTimeout(60_000);

describe('while the database is away', () => {
  let directory: string;
  let database: TestDatabase;
  let line: Line;
  let app: AppProcess;
  let url: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'orderloom-away-'));
    database = await createDatabase();
    const [through, ownerThrough] = [new URL(database.appUrl), new URL(database.url)];
    const [linePort, port] = [await freePort(), await freePort()];
    line = new Line(linePort, { host: through.hostname, port: Number(through.port) });
    await line.open();
    for (const each of [through, ownerThrough]) each.port = String(linePort);
    url = `http://127.0.0.1:${port}`;
    app = new AppProcess({
      DATABASE_URL: through.href,
      DATABASE_OWNER_URL: ownerThrough.href,
      DATA_DIR: directory,
      PORT: String(port),
      LOG_LEVEL: 'fatal',
    });
    await app.ready(url);
  });
  afterAll(async () => {
    line.speak();
    await app.end();
    await line.hangUp();
    await database.drop();
    rmSync(directory, { recursive: true, force: true });
  });

  const up = ({ samples }: Scrape) => samples.get('orderloom_database_up');
  const ofSubscription = (what: string, { samples }: Scrape) =>
    samples.get(`orderloom_subscription_${what}{subscription="orders.fulfil",segment="0"}`);

  async function isBack(): Promise<void> {
    for (; ; await delay(100)) {
      const found = await scrape(url);
      if (up(found) === 1 && ofSubscription('owned', found) === 1 && ofSubscription('lag_events', found) === 0) return;
    }
  }

  /** Of what the database knows there is nothing, rather than old news; what the process knows is there. */
  function expectProcessOnly(found: Scrape): void {
    expect(up(found)).toBe(0);
    expect(found.samples.get('process_cpu_seconds_total')).toBeGreaterThan(0);
    expect(found.samples.get('nodejs_heap_size_used_bytes')).toBeGreaterThan(0);
    expect(ofSubscription('lag_events', found)).toBeUndefined();
    expect(ofSubscription('retries_total', found)).toBeGreaterThanOrEqual(0);
    expect(found.samples.get('orderloom_circuit_breaker_state{breaker="carrier",state="closed"}')).toBe(1);
  }

  it('metrics come at once when it is not', async () => {
    await isBack();
  });

  it('and gives no answer, metrics come out within the patience of a scraper, and cost the pool one question', async () => {
    line.silence();
    const began = Date.now();
    const found = await Promise.all(Array.from({ length: 20 }, () => scrape(url)));
    expect(Date.now() - began).toBeLessThan(5000);
    for (const each of found) expectProcessOnly(each);
    const { samples } = await scrape(url);
    const inUse = samples.get('orderloom_database_connections{pool="reads",state="busy"}')!;
    expect(inUse + samples.get('orderloom_database_waiting{pool="reads"}')!).toBeLessThan(20);
    line.speak();
    await isBack();
  });

  it('and cannot be reached, metrics come out all the same', async () => {
    await line.hangUp();
    await delay(100);
    const began = Date.now();
    expectProcessOnly(await scrape(url));
    expect(Date.now() - began).toBeLessThan(5000);
    await line.open();
    await isBack();
  });
});
