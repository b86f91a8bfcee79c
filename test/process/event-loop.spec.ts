import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { tea } from '../journeys/shop';
import { eventually } from '../kernel/support';
import { Api } from '../support/api';
import { createDatabase, type TestDatabase } from '../support/database';
import { scrape } from '../support/metrics';
import { AppProcess, freePort } from './app-process';

jest.setTimeout(90_000);

describe('a process whose event loop does not keep up', () => {
  let directory: string;
  let database: TestDatabase;
  let app: AppProcess;
  let url: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'orderloom-loop-'));
    database = await createDatabase();
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    app = new AppProcess({
      NODE_OPTIONS: `--require ${join(__dirname, 'blocked-loop.js')}`,
      DATABASE_URL: database.appUrl,
      DATABASE_OWNER_URL: database.url,
      DATA_DIR: directory,
      PORT: String(port),
      ADMIN_PASSWORD: 'orderloom-admin',
      DEMO_DATA: 'true',
      LOG_LEVEL: 'warn',
    });
    await app.ready(url);
  });
  afterAll(async () => {
    await app.end();
    await database.drop();
    rmSync(directory, { recursive: true, force: true });
  });

  const get = (path: string) => new Api(url).get(path);
  const read = () => get(`/v1/products/${tea}`);

  it('serves on after a single pause, however long', async () => {
    app.kill('SIGSTOP');
    await delay(3000);
    const asked = read();
    app.kill('SIGCONT');
    expect((await asked).status).toBe(200);
    expect((await read()).status).toBe(200);
    const { body } = await get('/health/ready');
    expect(body['parts'] ?? {}).not.toHaveProperty('event-loop');
  });

  it('refuses requests early, is not ready, and both end when it keeps up again', async () => {
    app.kill('SIGUSR2');
    const refused = await eventually(async () => {
      const answer = await read();
      return answer.status === 503 ? answer : undefined;
    }, 20_000);
    expect(refused.headers.get('retry-after')).toBe('2');
    expect(refused.body).toMatchObject({
      code: 'overloaded',
      detail: 'This process has more to do than it can. Try again shortly.',
    });
    expect((await get('/health/live')).status).toBe(200);
    const notReady = await eventually(async () => {
      const answer = await get('/health/ready');
      return answer.body['parts']?.['event-loop'] ? answer : undefined;
    }, 30_000);
    expect(notReady.status).toBe(503);
    expect((await scrape(url)).samples.get('orderloom_not_ready{part="event-loop"}')).toBe(1);

    app.kill('SIGUSR2');
    const ended = performance.now();
    await eventually(async () => (await read()).status === 200, 5000);
    await app.ready(url, 20_000);
    // one good moment is not enough
    expect(performance.now() - ended).toBeGreaterThan(3000);
  });
});
