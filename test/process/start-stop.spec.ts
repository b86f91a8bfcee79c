import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { eventually } from '../kernel/support';
import { Api } from '../support/api';
import { AppProcess, freePort, isAlive, isReady, postmasterPid } from './app-process';

const tea = '00000000-0000-7000-8000-000000000001';
const password = 'a password for this test';
const secret = 'a secret that only this test knows, and long enough';

// A process takes a second or two to start, and on a busy machine several.
jest.setTimeout(60_000);

/** The built app as an operator meets it: real processes, their output and their exit codes. */
describe('the process', () => {
  const processes: AppProcess[] = [];
  let directory: string;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'orderloom-process-'));
    chmodSync(directory, 0o755);
  });
  afterAll(async () => {
    await Promise.all(processes.map((each) => each.end()));
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  });

  const run = (env: Record<string, string> = {}, ...args: string[]) => {
    const started = new AppProcess({ DATA_DIR: join(directory, 'unused'), LOG_LEVEL: 'warn', ...env }, args);
    processes.push(started);
    return started;
  };
  /** What it says and how it ends, for one that is not to stay. */
  const ran = async (env?: Record<string, string>, ...args: string[]) => {
    const once = run(env, ...args);
    return { ...(await once.exited), output: once.output };
  };
  const sentence = (text: RegExp) => ({ code: 1, output: expect.stringMatching(new RegExp(`^${text.source}.*\n$`)) });

  it('explains itself', async () => {
    const DATABASE_URL = 'postgres://nobody@127.0.0.1:1/none';
    const [help, unknown, two] = await Promise.all([
      ran({}, '--help'),
      ran({}, '--colour'),
      ran({ DATABASE_URL }, '--migrate', '--reset-admin-password'),
    ]);
    expect(help).toMatchObject({ code: 0, output: expect.stringContaining('DATABASE_URL') });
    expect(unknown).toMatchObject(sentence(/Unknown argument --colour; --help lists what there is\./));
    expect(two).toMatchObject(sentence(/One argument at a time; --help lists what there is\./));
  });

  it('names the setting that makes no sense', async () => {
    const DATABASE_URL = 'postgres://nobody@127.0.0.1:1/none';
    const found = await Promise.all([
      ran({ PORT: 'abc' }),
      ran({ JWT_SECRET: 'short' }),
      ran({ NODE_ENV: 'production', DATABASE_URL }),
      ran({ DATABASE_URI: DATABASE_URL, PORT: 'abc' }),
    ]);
    expect(found[0]).toMatchObject(sentence(/Configuration: PORT /));
    expect(found[1]).toMatchObject(sentence(/Configuration: JWT_SECRET /));
    expect(JSON.parse(found[2].output)).toMatchObject({
      level: 'error',
      msg: expect.stringMatching(/^Configuration: JWT_SECRET must be set in production/),
    });
    // first, since it may be the cause of what is wrong
    expect(found[3].output).toMatch(
      /^Warning: DATABASE_URI is not a setting .* mean DATABASE_URL\?\nConfiguration: PORT /,
    );
  });

  describe('with the Postgres that it brings', () => {
    const dataDirectory = () => join(directory, 'data');
    let port: number;
    let url: string;
    let app: AppProcess;
    const start = () => (app = run({ DATA_DIR: dataDirectory(), PORT: String(port), LOG_LEVEL: 'info' }));
    const signInDetails = { username: 'admin@orderloom.local', password: '' };

    beforeAll(async () => {
      port = await freePort();
      url = `http://127.0.0.1:${port}`;
    });

    it('tells at the first start, once, how to sign in and where', async () => {
      start();
      await app.says(/^Creating a database in \S+, which takes some seconds\n/);
      await app.ready(url);
      const [, made] = await app.says(/admin@orderloom\.local created, password (\S+) \(shown only this once\)/);
      await app.says(new RegExp(`Swagger UI: ${url}/docs - press Authorize and sign in as admin@orderloom.local`));
      signInDetails.password = made!;
      expect((await fetch(`${url}/docs`)).status).toBe(200);
      await expect(Api.signIn(url, signInDetails.username, signInDetails.password)).resolves.toBeDefined();
    });

    it('refuses a second one in the same data directory', async () => {
      const second = await ran({ DATA_DIR: dataDirectory(), PORT: String(await freePort()) });
      expect(second).toMatchObject(sentence(/The data directory \S+ is in use by process \d+ /));
      expect(await isReady(url)).toBe(true);
    });

    it('has a new password for the administrator while it runs', async () => {
      const old = await Api.signIn(url, signInDetails.username, signInDetails.password);
      const reset = await ran({ DATA_DIR: dataDirectory(), PORT: String(port) }, '--reset-admin-password');
      expect(reset).toMatchObject({
        code: 0,
        output: expect.stringMatching(/^Administrator \S+ has the new password \S+ \(shown only this once\)\n$/),
      });
      signInDetails.password = / password (\S+) /.exec(reset.output)![1]!;
      expect(app.running && (await isReady(url))).toBe(true);
      const admin = await Api.signIn(url, signInDetails.username, signInDetails.password);
      expect((await admin.get('/v1/users/me')).status).toBe(200);
      // tokens from before end within a second
      await eventually(async () => (await old.get('/v1/users/me')).status === 401);
    });

    it('finishes what is in flight when it is told to stop, and then stops the database', async () => {
      const postmaster = postmasterPid(dataDirectory())!;
      const admin = await Api.signIn(url, signInDetails.username, signInDetails.password);
      const order = admin.post(
        '/v1/orders',
        {
          reference: 'in-flight',
          lines: [{ productId: tea, quantity: 1 }],
          shippingAddress: { name: 'Ada', line1: 'St James’s Square 12', city: 'London', countryCode: 'GB' },
          paymentMethod: 'sandbox_slow',
          submit: true,
        },
        { prefer: 'wait=10' },
      );
      for (let found = 0; found === 0; await delay(20)) {
        found = (await admin.get('/v1/orders?reference=in-flight')).body.data.length;
      }
      app.kill('SIGTERM');
      const { status, body } = await order;
      expect({ status, body }).toMatchObject({ status: 202, body: { status: 'fulfilling', paymentStatus: 'paid' } });
      expect(await app.exited).toMatchObject({ code: 0 });
      expect(app.output).toMatch(/SIGTERM: finishing what is in flight\n$/);
      expect(app.output).not.toMatch(/error|warn/i);
      expect(isAlive(postmaster)).toBe(false);
    });

    it('is not ready, but serves requests, for SHUTDOWN_DELAY before it stops', async () => {
      app = run({ DATA_DIR: dataDirectory(), PORT: String(port), SHUTDOWN_DELAY: '3' });
      await app.ready(url);
      const admin = await Api.signIn(url, signInDetails.username, signInDetails.password);
      // opened in advance, as browsers do
      const silent = connect(port, '127.0.0.1').on('error', () => undefined);
      await once(silent, 'connect');
      const told = Date.now();
      app.kill('SIGTERM');
      await eventually(async () => !(await isReady(url)));
      // a terminal and npm each deliver it
      app.kill('SIGTERM');
      const ready = await fetch(`${url}/health/ready`);
      expect(await ready.json()).toMatchObject({ code: 'shutting-down', parts: { shutdown: 'has begun' } });
      const { status, headers } = await admin.get('/v1/orders');
      expect({ status, connection: headers.get('connection') }).toEqual({ status: 200, connection: 'close' });
      expect(await app.exited).toMatchObject({ code: 0 });
      expect(Date.now() - told).toBeGreaterThanOrEqual(3000);
      expect(app.output).not.toMatch(/error|warn/i);
    });

    it('starts again after kill -9, with what it had, and keeps the password to itself', async () => {
      start();
      await app.ready(url);
      const left = postmasterPid(dataDirectory())!;
      app.kill('SIGKILL');
      await app.exited;
      expect(isAlive(left)).toBe(true);

      start();
      await app.ready(url);
      await app.says(/left behind by a process that was killed/);
      expect(isAlive(left)).toBe(false);
      expect(app.output).not.toMatch(/password [\w-]{16}/);
      const admin = await Api.signIn(url, signInDetails.username, signInDetails.password);
      expect((await admin.get('/v1/orders?reference=in-flight')).body.data).toHaveLength(1);
      expect(await app.end()).toMatchObject({ code: 0 });
    });
  });

  it('migrates and ends', async () => {
    const env = { DATA_DIR: join(directory, 'migrated') };
    expect(await ran(env, '--migrate')).toMatchObject({
      code: 0,
      output: expect.stringMatching(/^Creating a database in \S+,.*\nDatabase: \d+ migrations applied\n$/),
    });
    expect(await ran(env, '--migrate')).toMatchObject({ code: 0, output: 'Database: up to date\n' });
    expect(postmasterPid(env.DATA_DIR)).toBeUndefined();
  });

  describe('with a Postgres of yours', () => {
    const name = `process_${process.pid}`;
    const role = `${name}_app`;
    const at = (change: (url: URL) => void) => {
      const url = new URL(process.env['TEST_POSTGRES_URL']!);
      url.pathname = `/${name}`;
      change(url);
      return url.href;
    };
    const administer = async (statement: string) => {
      const client = new Client({ connectionString: process.env['TEST_POSTGRES_URL'] });
      await client.connect();
      await client.query(statement).finally(() => client.end());
    };
    const own = { ADMIN_PASSWORD: password, JWT_SECRET: secret };

    beforeAll(async () => {
      await administer(`create database ${name}`);
    });
    afterAll(async () => {
      await Promise.all(processes.map((each) => each.end()));
      await administer(`drop database ${name} with (force)`);
      await administer(`drop role if exists ${role}`);
    });

    it('says what is wrong with DATABASE_URL', async () => {
      const nothing = await freePort();
      const found = await Promise.all([
        ran({ DATABASE_URL: at((url) => (url.port = String(nothing))) }),
        ran({ DATABASE_URL: at((url) => (url.password = 'wrong')) }),
        ran({ DATABASE_URL: at((url) => (url.pathname = '/missing')) }),
        ran({ DATABASE_URL: 'mysql://127.0.0.1/orderloom' }),
      ]);
      const because = (text: string, advice: string) =>
        sentence(new RegExp(`Cannot use the database .*${text}.* ${advice} DATABASE_URL\\b`));
      expect(found[0]).toMatchObject(because('ECONNREFUSED', 'Start the server, or correct host and port in'));
      expect(found[1]).toMatchObject(because('password authentication failed', 'Correct user and password in'));
      expect(found[2]).toMatchObject(because('database "missing" does not exist', 'or correct its name in'));
      expect(found[3]).toMatchObject(sentence(/Configuration: DATABASE_URL /));
      expect(Math.max(...found.map(({ after }) => after))).toBeLessThan(15_000);
    });

    it('comes up twice at the same moment on one empty database', async () => {
      const DATABASE_OWNER_URL = at(() => undefined);
      const DATABASE_URL = at((url) => Object.assign(url, { username: role, password: 'of the application' }));
      const ports = await Promise.all([freePort(), freePort()]);
      const replicas = ports.map((port) =>
        run({ ...own, DATABASE_URL, DATABASE_OWNER_URL, PORT: String(port), DEMO_DATA: 'true' }),
      );
      const urls = ports.map((port) => `http://127.0.0.1:${port}`);
      await Promise.all(replicas.map((replica, nth) => replica.ready(urls[nth]!)));
      const applied = replicas.filter((replica) => /migrations applied/.test(replica.output));
      expect(applied).toHaveLength(1);

      const tokens = await Promise.all(urls.map((url) => Api.signIn(url, 'admin@orderloom.local', password)));
      // a port that is taken: by the first of them
      const third = await ran({ ...own, DATABASE_URL, DATABASE_OWNER_URL, PORT: String(ports[0]) });
      expect(third).toMatchObject(sentence(new RegExp(`Port ${ports[0]} is in use: stop what listens there`)));

      // one data set, whoever is asked
      const products = await Promise.all(tokens.map((each) => each.get('/v1/products')));
      expect(products[0]!.body).toEqual(products[1]!.body);
      const ends = await Promise.all(replicas.map((replica) => replica.end()));
      expect(ends).toMatchObject([{ code: 0 }, { code: 0 }]);
      for (const { output } of replicas) expect(output).not.toMatch(/error|warn/i);
    });
  });
});
