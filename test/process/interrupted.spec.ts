import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { commandLines } from '../../src/kernel/database/embedded-postgres-lock';
import { eventually } from '../kernel/support';
import { Api } from '../support/api';
import { AppProcess, freePort, isAlive, postmasterPid } from './app-process';

const tea = '00000000-0000-7000-8000-000000000001';
const password = 'a password for this test';

jest.setTimeout(60_000);

/** Processes that have to end at an awkward moment, with the Postgres that they bring. */
describe('a process', () => {
  const processes: AppProcess[] = [];
  let directory: string;
  let data: string;
  let url: string;
  let app: AppProcess;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'orderloom-interrupted-'));
    chmodSync(directory, 0o755);
    data = join(directory, 'data');
  });
  afterEach(async () => {
    await Promise.all(processes.splice(0).map((each) => each.end()));
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  });

  const start = async (env: Record<string, string> = {}) => {
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    app = new AppProcess({ DATA_DIR: data, PORT: String(port), ADMIN_PASSWORD: password, LOG_LEVEL: 'warn', ...env });
    processes.push(app);
  };
  /** Command lines of what runs on the data directory. */
  const running = () => [...commandLines().values()].filter((command) => command.includes(data));

  it('that is told to stop while it creates its database leaves nothing behind', async () => {
    await start();
    await eventually(() => running().some((command) => command.includes('/initdb ')));
    app.kill('SIGTERM');
    expect(await app.exited).toMatchObject({ code: 0 });
    expect(running()).toEqual([]);
    expect(readdirSync(data).filter((name) => /^(data|lock)/.test(name))).toEqual([]);
    expect(app.output).toMatch(/^Creating a database in .*\nSIGTERM: finishing what is in flight\n$/);
  });

  it('whose data directory is deleted says so and ends', async () => {
    await start();
    await app.ready(url);
    const postmaster = postmasterPid(data)!;
    // the server goes on writing, and may create a file in a directory that is being removed
    await eventually(() => {
      try {
        rmSync(join(data, 'data'), { recursive: true, force: true });
      } catch {
        return false;
      }
      return true;
    });
    const deleted = Date.now();
    expect(await app.exited).toMatchObject({ code: 1 });
    expect(Date.now() - deleted).toBeLessThan(15_000);
    expect(app.output).toMatch(/^The data directory \S+ was removed while Postgres was using it: restore it/m);
    expect(isAlive(postmaster)).toBe(false);
  });

  it('that does not finish in time says what it waited for and ends with exit code 1', async () => {
    await start({ SHUTDOWN_TIMEOUT: '1' });
    await app.ready(url);
    const postmaster = postmasterPid(data)!;
    const admin = await Api.signIn(url, 'admin@orderloom.local', password);
    await admin.post('/v1/orders', {
      lines: [{ productId: tea, quantity: 1 }],
      shippingAddress: { name: 'Ada', line1: 'St James’s Square 12', city: 'London', countryCode: 'GB' },
      // answers after 2 s
      paymentMethod: 'sandbox_slow',
      submit: true,
    });
    const requested = async () =>
      (await admin.get('/v1/operations/events?type=payment.requested')).body.data.length > 0;
    await eventually(requested);
    app.kill('SIGTERM');
    expect(await app.exited).toMatchObject({ code: 1 });
    expect(app.output).toMatch(
      /\nShutdown: the application \(.*payments\.charge.*\) had not finished after 1 s, which SHUTDOWN_TIMEOUT sets\.\n$/,
    );
    await eventually(() => !isAlive(postmaster));
  });
});
