import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '../kernel/support';
import { Api } from '../support/api';
import { createDatabase, type TestDatabase } from '../support/database';
import { AppProcess, freePort, isReady } from './app-process';
import { countOrders, Customers, placed } from './customers';

const root = join(__dirname, '../..');
const text = (path: string) => readFileSync(join(root, path), 'utf8');
const password = 'a password for this test';

jest.setTimeout(180_000);

interface Service {
  readonly profiles?: string[];
  readonly ports?: string[];
  readonly environment?: Record<string, string>;
  readonly depends_on?: Record<string, unknown>;
  readonly volumes?: string[];
}

describe('docker-compose.yml', () => {
  const yaml = jest.requireActual<{ YAML11_SCHEMA: object; load(text: string, options: object): unknown }>('js-yaml');
  // 1.1 has `<<`, as Docker Compose has
  const { services } = yaml.load(text('docker-compose.yml'), { schema: yaml.YAML11_SCHEMA }) as {
    services: Record<string, Service>;
  };
  const inProfile = (name: string) => services[name]!.profiles ?? [];

  it('starts one application without a profile, and with it two that only the balancer reaches', () => {
    const names = Object.keys(services);
    expect(names.filter((name) => inProfile(name).length === 0).toSorted()).toEqual(['app', 'postgres']);
    expect(names.filter((name) => inProfile(name).includes('replicas')).toSorted()).toEqual([
      'balancer',
      'replica-1',
      'replica-2',
    ]);
    const { app, balancer } = services;
    for (const name of Object.keys(balancer!.depends_on!)) {
      const { ports, environment } = services[name]!;
      expect(ports).toEqual([]);
      expect(environment).toEqual({
        ...app!.environment,
        TRUSTED_PROXIES: expect.any(String),
        SHUTDOWN_DELAY: expect.any(String),
      });
    }
  });

  it('gives the balancer its file, whose replicas are the services that it waits for', () => {
    const { balancer } = services;
    const [file] = balancer!.volumes![0]!.split(':');
    const replicas = /\{\$REPLICAS:([^}]+)\}/.exec(text(file!))![1]!.split(' ');
    expect(replicas).toEqual(Object.keys(balancer!.depends_on!).map((name) => `${name}:3000`));
    expect(text('Dockerfile')).toContain('EXPOSE 3000');
    expect(text('.dockerignore')).not.toContain(file!.replace('./', ''));
  });
});

const program = process.env['CADDY'] ?? 'caddy';
const hasCaddy = (() => {
  try {
    return execFileSync(program, ['version'], { stdio: ['ignore', 'pipe', 'ignore'] }).length > 0;
  } catch {
    return false;
  }
})();

/** Where Caddy is not installed, only the file is looked at, above. `CADDY` names the program. */
(hasCaddy ? describe : describe.skip)('the balancer of docker compose', () => {
  const apps: AppProcess[] = [];
  let directory: string;
  let database: TestDatabase;
  let ports: number[];
  let url: string;
  let caddy: ChildProcess;
  let admin: Api;

  const start = async (nth: number) => {
    const app = new AppProcess({
      DATABASE_URL: database.appUrl,
      DATABASE_OWNER_URL: database.url,
      DATA_DIR: directory,
      PORT: String(ports[nth]),
      ADMIN_PASSWORD: password,
      DEMO_DATA: 'true',
      LOG_LEVEL: 'error',
      TRUSTED_PROXIES: '127.0.0.1',
      SHUTDOWN_DELAY: '4',
      SIGN_IN_FAILURES_PER_ADDRESS: '5',
    });
    apps[nth] = app;
    await app.ready(`http://127.0.0.1:${ports[nth]}`, 60_000);
  };

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'orderloom-caddy-'));
    database = await createDatabase();
    ports = [await freePort(), await freePort()];
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    await Promise.all([start(0), start(1)]);
    caddy = spawn(program, ['run', '--adapter', 'caddyfile', '--config', join(root, 'Caddyfile')], {
      env: {
        PATH: process.env['PATH'],
        HOME: directory,
        BALANCER_ADDRESS: `127.0.0.1:${port}`,
        REPLICAS: ports.map((each) => `127.0.0.1:${each}`).join(' '),
      },
      stdio: 'ignore',
    });
    await eventually(() => isReady(url), 30_000);
    admin = await Api.signIn(url, 'admin@orderloom.local', password);
    const path = '/v1/products/00000000-0000-7000-8000-000000000001/stock-adjustments';
    await admin.post(path, { delta: 1_000_000, reason: 'for everybody' });
  });
  afterAll(async () => {
    caddy.kill('SIGTERM');
    await once(caddy, 'exit');
    await Promise.all(apps.map((app) => app.end()));
    await database.drop();
    rmSync(directory, { recursive: true, force: true });
  });

  it('loses no request when a replica is told to stop while orders are placed', async () => {
    const customers = new Customers(admin, 8);
    await customers.acknowledged(20);
    apps[0]!.kill('SIGTERM');
    expect(await apps[0]!.exited).toMatchObject({ code: 0 });
    await customers.acknowledged(20);
    await start(0);
    await customers.acknowledged(20);
    await customers.stop();
    expect(customers.failed).toEqual([]);
  });

  it('loses no order that was acknowledged when a replica is killed; what is repeated has one effect', async () => {
    const customers = new Customers(admin, 8);
    await customers.acknowledged(20);
    apps[1]!.kill('SIGKILL');
    await apps[1]!.exited;
    await customers.acknowledged(20);
    await customers.stop();
    const { failed, sent, count } = customers;
    expect(failed.length).toBeLessThanOrEqual(count);
    for (const { key, reason } of failed) {
      expect(reason).toBe('502 replica-lost');
      expect(await placed(admin, key)).toMatchObject({ status: 202 });
    }
    const keys = sent.map(({ key }) => key);
    expect(await countOrders(admin, keys)).toEqual(keys.map(() => 1));
    await start(1);
  });

  it('says who the client is, whatever the client says, and keeps metrics to the replicas', async () => {
    const statuses: number[] = [];
    for (let nth = 0; nth < 7; nth++) {
      const body = { username: `nobody-${nth}@example.com`, password: 'a wrong password' };
      const forged = { 'x-forwarded-for': `192.0.2.${nth}` };
      statuses.push((await new Api(url).post('/v1/auth/token', body, forged)).status);
    }
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429]);
    for (const path of ['/metrics', '/metrics/', '/METRICS/']) expect((await fetch(url + path)).status).toBe(404);
    expect((await fetch(`http://127.0.0.1:${ports[0]}/metrics`)).status).toBe(200);
  });
});
