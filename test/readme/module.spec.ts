import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { AppProcess, freePort } from '../process/app-process';
import { Api } from '../support/api';
import { createDatabase, type TestDatabase } from '../support/database';
import { Checkout } from './checkout';
import { blocksOf, filledIn } from './readme';
import { Shell } from './shell';

jest.setTimeout(240_000);

const password = 'a password for this test';
const subscription = 'loyalty.award-points';

/** The module of "Add a module", added to a copy of the repository as the README says. */
describe('the README’s module', () => {
  let directory: string;
  let checkout: Checkout;
  let files: string[];
  let database: TestDatabase;
  let port: number;
  let app: AppProcess;
  let shell: Shell;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'orderloom-readme-'));
    for (const name of ['checkout', 'shell']) mkdirSync(join(directory, name));
    checkout = new Checkout(join(directory, 'checkout'));
    database = await createDatabase();
    port = await freePort();
    shell = new Shell('bash', join(directory, 'shell'));
  });
  afterAll(async () => {
    await shell.end();
    await app.end();
    await database.drop();
    rmSync(directory, { recursive: true, force: true });
  });

  const start = async (cwd?: string) => {
    const url = `http://127.0.0.1:${port}`;
    const env = { DATABASE_URL: database.url, DEMO_DATA: 'true', ADMIN_PASSWORD: password, PORT: String(port) };
    app = new AppProcess({ ...env, DATA_DIR: join(directory, 'data'), LOG_LEVEL: 'warn' }, [], cwd);
    await app.ready(url, 60_000);
    return Api.signIn(url, 'admin@orderloom.local', password);
  };
  /** Waits until the reaction has handled the whole log. */
  const caughtUp = async (api: Api) => {
    const deadline = Date.now() + 60_000;
    for (; ; await delay(50)) {
      const { body } = await api.get('/v1/operations/subscriptions');
      const status = body.data.find(({ name }: { name: string }) => name === subscription);
      if (status.deadLetters === 0 && status.lag === 0 && status.position > 0) return;
      if (status.deadLetters === 0 && Date.now() < deadline) continue;
      throw new Error(`The reaction makes no progress: ${JSON.stringify(status)}\n${app.output}`);
    }
  };
  const awarded = async (api: Api) => (await api.get('/v1/operations/events?type=points.awarded')).body.data;

  it('compiles, is formatted and keeps the boundaries between modules', () => {
    files = blocksOf('module').flatMap(({ language, text }) => (language === 'ts' ? [checkout.create(text)] : []));
    for (const { language, text } of blocksOf('module')) if (language === 'diff') checkout.change(text);
    expect(files).toHaveLength(3);
    checkout.run('@nestjs/cli/bin/nest.js', 'build');
    checkout.run('prettier/bin/prettier.cjs', '--check', ...files, 'src/app.module.ts', '.dependency-cruiser.js');
    checkout.run('dependency-cruiser/bin/dependency-cruise.mjs', 'src', 'migrations');
  });

  it('awards points for an order that was completed before the module was added', async () => {
    await start();
    const tour = blocksOf('tour').filter(({ text }) => !text.includes('npm run'));
    for (const { text } of tour) {
      expect((await shell.run(filledIn(text, { port, password }))).failed).toEqual([]);
    }
    expect(await app.end()).toMatchObject({ code: 0 });

    const api = await start(checkout.directory);
    await caughtUp(api);
    const [block] = blocksOf('module-tour');
    const { output, failed, answers } = await shell.run(block!.text);
    expect({ failed, statuses: answers.map(({ status }) => status) }).toEqual({ failed: [], statuses: [200] });
    const { data } = (await api.get('/v1/orders?status=completed')).body;
    expect(output).toContain(`orderId: '${data[0].id}'`);
    expect(await awarded(api)).toMatchObject([{ payload: { orderId: data[0].id, points: 100 } }]);
  });

  it('awards them once when the event is delivered again', async () => {
    expect(await app.end()).toMatchObject({ code: 0 });
    const client = new Client({ connectionString: database.url });
    await client.connect();
    const rewound = await client.query('update subscriptions.checkpoints set position = 0 where name = $1', [
      subscription,
    ]);
    await client.end();
    expect(rewound.rowCount).toBe(1);

    const api = await start(checkout.directory);
    await caughtUp(api);
    const { body } = await api.get('/v1/operations/subscriptions');
    // the order.completed of the tour was delivered to this process, which has handled nothing before
    expect(body.data).toContainEqual(expect.objectContaining({ name: subscription, handled: 1, retries: 0 }));
    expect(await awarded(api)).toHaveLength(1);
    // but for the role: this start names the owner as DATABASE_URL
    expect(app.output).not.toMatch(/WARN|ERROR/);
  });
});
