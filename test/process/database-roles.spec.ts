import { chmodSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connected } from '../../src/kernel/database/connected';
import { startEmbeddedPostgres } from '../../src/kernel/database/embedded-postgres';
import { Api } from '../support/api';
import { AppProcess, embeddedUrl, freePort } from './app-process';

const password = 'a password for this test';
const secret = 'a secret that only this test knows, and long enough';

jest.setTimeout(60_000);

/** The built app with the two roles that a database has, as an operator sets them up. */
describe('the roles of the database', () => {
  const processes: AppProcess[] = [];
  let directory: string;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'orderloom-roles-'));
    chmodSync(directory, 0o755);
  });
  afterEach(() => Promise.all(processes.splice(0).map((each) => each.end())));
  afterAll(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }));

  const run = (env: Record<string, string>, ...args: string[]) => {
    const own = {
      DATA_DIR: join(directory, 'unused'),
      LOG_LEVEL: 'warn',
      JWT_SECRET: secret,
      ADMIN_PASSWORD: password,
    };
    const started = new AppProcess({ ...own, ...env }, args);
    processes.push(started);
    return started;
  };
  const ran = async (env: Record<string, string>, ...args: string[]) => {
    const once = run(env, ...args);
    return { ...(await once.exited), output: once.output };
  };
  /** Runs until it is ready, and then `look`. */
  const running = async (env: Record<string, string>, look: (url: string, app: AppProcess) => Promise<void>) => {
    const port = await freePort();
    const app = run({ ...env, PORT: String(port) });
    await app.ready(`http://127.0.0.1:${port}`);
    await look(`http://127.0.0.1:${port}`, app);
    await app.end();
    return app.output;
  };
  const query = async <Row extends object>(url: string, text: string) =>
    connected(url, async (client) => (await client.query<Row>(text)).rows);

  it('are both there in a data directory that an earlier version made, which keeps its data', async () => {
    const DATA_DIR = join(directory, 'upgraded');
    await running({ DATA_DIR, ADMIN_EMAIL: 'first@example.com' }, async (url) => {
      await Api.signIn(url, 'first@example.com', password);
    });
    // as earlier versions had it: one role, and functions that run with the rights of whoever calls them
    const before = await startEmbeddedPostgres({ directory: DATA_DIR });
    await query(
      before.ownerUrl,
      `drop owned by orderloom_app; drop role orderloom_app;
       alter function event_store.append security invoker reset search_path;
       drop function subscriptions.begin_rebuild, subscriptions.finish_rebuild, subscriptions.shadow_of;
       delete from orderloom.migrations where name ~ '179000000004[01]$';
       create table public.migrations (id serial primary key, timestamp bigint not null, name varchar not null);
       insert into public.migrations (timestamp, name) select right(name, 13)::bigint, name from orderloom.migrations;
       drop schema orderloom cascade`,
    );
    await before.stop();
    rmSync(join(DATA_DIR, 'app-password'));

    const output = await running({ DATA_DIR, ADMIN_EMAIL: 'first@example.com' }, async (url) => {
      await Api.signIn(url, 'first@example.com', password);
      const sessions = await query(
        embeddedUrl(DATA_DIR),
        `select distinct usename from pg_stat_activity where application_name like 'orderloom%'`,
      );
      expect(sessions).toEqual([{ usename: 'orderloom_app' }]);
    });
    expect(output).toMatch(/^Database: \d+ migrations applied$/m);
    expect(output).not.toMatch(/warn|error/i);
    expect(statSync(join(DATA_DIR, 'app-password')).mode & 0o777).toBe(0o600);
  });

  it('are both there after the file with the password of the application was lost', async () => {
    const DATA_DIR = join(directory, 'upgraded');
    rmSync(join(DATA_DIR, 'app-password'));
    await running({ DATA_DIR }, async (url) => {
      await Api.signIn(url, 'first@example.com', password);
    });
  });

  describe('on a Postgres of yours', () => {
    const name = `roles_${process.pid}`;
    const [owner, application] = [`${name}_owner`, `${name}_app`];
    const at = (username: string, secretOf = 'a password') => {
      const url = new URL(process.env['TEST_POSTGRES_URL']!);
      return Object.assign(url, { pathname: `/${name}`, username, password: secretOf }).href;
    };
    const administer = async (...statements: string[]) => {
      for (const statement of statements) await query(process.env['TEST_POSTGRES_URL']!, statement);
    };

    beforeEach(() =>
      administer(`create role ${owner} login password 'a password'`, `create database ${name} owner ${owner}`),
    );
    afterEach(() =>
      administer(
        `drop database if exists ${name} with (force)`,
        ...[owner, application].map((role) => `drop role if exists ${role}`),
      ),
    );

    it('may be one for everything, which is said once, with how to separate them', async () => {
      const output = await running({ DATABASE_URL: at(owner) }, async (url) => {
        await Api.signIn(url, 'admin@orderloom.local', password);
      });
      const advice = 'move this URL to DATABASE_OWNER_URL and name another role in DATABASE_URL.';
      expect(output.match(/^.*could change the log.*$/gm)).toEqual([
        `Warning: The application connects as ${owner}, which owns its tables and could change the log. To separate them, ${advice}`,
      ]);

      await administer(`alter role ${owner} superuser`);
      const production = { NODE_ENV: 'production', PAYMENT_PROVIDER: 'sandbox', DATABASE_URL: at(owner) };
      const lines = (await running(production, async () => undefined))
        .split('\n')
        .filter((line) => /superuser/.test(line));
      expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([{ level: 'warn' }]);
    });

    it('are separated by naming the owner as well: the other is created and given what it needs', async () => {
      await administer(`alter role ${owner} createrole`);
      const urls = { DATABASE_URL: at(application, 'pass word: ñ/?'), DATABASE_OWNER_URL: at(owner) };
      const migrated = await ran(urls, '--migrate');
      expect(migrated).toMatchObject({
        code: 0,
        output: expect.stringMatching(/^Database: \d+ migrations applied\n$/),
      });
      const look = async (url: string) => {
        const admin = await Api.signIn(url, 'admin@orderloom.local', password);
        expect((await admin.get('/v1/operations/events')).status).toBe(200);
        const sessions = await query(
          process.env['TEST_POSTGRES_URL']!,
          `select distinct usename from pg_stat_activity where datname = '${name}' and application_name like 'orderloom%'`,
        );
        expect(sessions).toEqual([{ usename: application }]);
      };
      expect(await running(urls, look)).not.toMatch(/warn|error/i);
      // once migrated, the application starts without the owner
      const { DATABASE_URL } = urls;
      expect(await running({ DATABASE_URL }, look)).not.toMatch(/warn|error/i);

      await query(
        at(owner),
        `delete from orderloom.migrations where name = (select max(name) from orderloom.migrations)`,
      );
      const late = await ran({ DATABASE_URL });
      expect(late).toMatchObject({
        code: 1,
        output: expect.stringMatching(
          /^Cannot use the database .*: .*Set DATABASE_OWNER_URL to the role that owns.*\n$/,
        ),
      });
    });

    it('are not guessed at: what stands in the way is said in one sentence', async () => {
      const missing = await ran({ DATABASE_URL: at(application), DATABASE_OWNER_URL: at(owner) });
      expect(missing).toMatchObject({
        code: 1,
        output: expect.stringMatching(
          new RegExp(
            `^The role "${application}" of DATABASE_URL does not exist.*: run CREATE ROLE "${application}" LOGIN.*\n$`,
          ),
        ),
      });
      await administer(`create role ${application} login password 'another one'`);
      const found = await Promise.all([
        ran({ DATABASE_URL: at(application), DATABASE_OWNER_URL: at(owner) }),
        ran({ DATABASE_URL: at(application), DATABASE_OWNER_URL: at(owner, 'wrong') }),
        ran({ DATABASE_OWNER_URL: at(owner) }),
        ran({
          DATABASE_URL: at(application, 'another one').replace(/[^/]+$/, 'postgres'),
          DATABASE_OWNER_URL: at(owner),
        }),
      ]);
      const sentence = (text: RegExp) => ({ code: 1, output: expect.stringMatching(new RegExp(`^${text.source}\n$`)) });
      expect(found[0]).toMatchObject({
        code: 1,
        output: expect.stringMatching(/password.* Correct user and password in DATABASE_URL;.*\n$/),
      });
      expect(found[1]).toMatchObject(
        sentence(/Cannot use the database .*password.* Correct user and password in DATABASE_OWNER_URL;.*/),
      );
      expect(found[2]).toMatchObject(sentence(/Configuration: DATABASE_OWNER_URL needs DATABASE_URL.*/));
      expect(found[3].output).toMatch(/DATABASE_URL and DATABASE_OWNER_URL lead to different databases/);
    });
  });
});
