import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createDatabase, type TestDatabase } from '../support/database';
import { type Scrape, scrape } from '../support/metrics';
import { AppProcess, freePort } from './app-process';

jest.setTimeout(60_000);

/** Stands between the app and Postgres: can fall silent, as a network does, or hang up, as a server that stops. */
class Line {
  private readonly ends = new Map<Socket, Socket>();
  private server: Server | undefined;
  private silent = false;

  constructor(
    private readonly port: number,
    private readonly to: { host: string; port: number },
  ) {}

  open(): Promise<void> {
    const server = (this.server = createServer((near) => {
      const far = connect(this.to);
      this.ends.set(near, far);
      for (const [end, other] of [
        [near, far],
        [far, near],
      ] as const) {
        end.on('error', () => undefined);
        end.on('close', () => {
          this.ends.delete(near);
          other.destroy();
        });
        if (!this.silent) end.pipe(other);
      }
    }));
    return new Promise((resolve) => server.listen(this.port, '127.0.0.1', resolve));
  }

  silence(): void {
    this.silent = true;
    for (const [near, far] of this.ends) {
      near.unpipe(far);
      far.unpipe(near);
    }
  }

  speak(): void {
    this.silent = false;
    for (const [near, far] of this.ends) {
      near.pipe(far);
      far.pipe(near);
    }
  }

  async hangUp(): Promise<void> {
    const closed = new Promise((resolve) => this.server?.close(resolve));
    for (const [near, far] of this.ends) {
      near.destroy();
      far.destroy();
    }
    await closed;
  }
}

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
