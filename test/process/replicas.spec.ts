import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { anOrder } from '../journeys/shop';
import { connect, eventually } from '../kernel/support';
import { Api } from '../support/api';
import { checkInvariants } from '../crash/invariants';
import { AppProcess, isAlive } from './app-process';
import { countOrders, Customers, placed } from './customers';
import { ReplicaSet } from './replica-set';

jest.setTimeout(180_000);

describe('npm run start:replicas', () => {
  let set: ReplicaSet;
  let admin: Api;

  beforeAll(async () => {
    set = await ReplicaSet.start(2, { SIGN_IN_FAILURES_PER_ADDRESS: '5' });
    admin = await set.admin();
    await admin.post('/v1/products/00000000-0000-7000-8000-000000000001/stock-adjustments', {
      delta: 1_000_000,
      reason: 'for everybody',
    });
  });
  afterAll(() => set.end());

  it('says where it listens, and of each replica its process and port', async () => {
    expect(set.supervisor.output).toMatch(/^Starting 2 replicas\n(.*\n)*Database: \d+ migrations applied\n/);
    expect([...set.replicas.keys()].toSorted()).toEqual([1, 2]);
    expect(set.supervisor.output).toMatch(
      new RegExp(`^Orderloom listens on ${set.url}\nSwagger UI: ${set.url}/docs`, 'm'),
    );
  });

  it('loses no request when a replica is told to stop while orders are placed, and starts it again', async () => {
    const customers = new Customers(admin, 8);
    await customers.acknowledged(20);
    const former = set.strike(1, 'SIGTERM');
    await set.replaced(1, former);
    await customers.acknowledged(20);
    await customers.stop();
    expect(customers.failed).toEqual([]);
    expect(set.supervisor.output).toMatch(new RegExp(`^Replica 1 \\(process ${former}\\) ended with exit code 0`, 'm'));
  });

  it('loses no order that it acknowledged when one replica is killed, and has one effect for each that is repeated', async () => {
    const customers = new Customers(admin, 8);
    await customers.acknowledged(20);
    const killed = set.strike(2, 'SIGKILL');
    await set.replaced(2, killed);
    await customers.acknowledged(20);
    await customers.stop();

    // at most one for each customer: what was in flight at the replica that was killed
    const { failed, sent, count } = customers;
    expect(failed.length).toBeLessThanOrEqual(count);
    for (const { key, reason } of failed) {
      expect(reason).toBe('502 replica-lost');
      expect(await placed(admin, key)).toMatchObject({ status: 202 });
    }
    const keys = sent.map(({ key }) => key);
    expect(await countOrders(admin, keys)).toEqual(keys.map(() => 1));
    expect(set.supervisor.output).toMatch(
      new RegExp(`^Replica 2 \\(process ${killed}\\) was ended by SIGKILL: starting it again in 0.5 s`, 'm'),
    );
  });

  it('counts failed sign-ins by the address of the caller, whatever a caller says about it, over both replicas', async () => {
    const statuses: number[] = [];
    for (let nth = 0; nth < 8; nth++) {
      const body = { username: `nobody-${nth}@example.com`, password: 'a wrong password' };
      const forged = { 'x-forwarded-for': `192.0.2.${nth}`, forwarded: `for=192.0.2.${nth}` };
      statuses.push((await new Api(set.url).post('/v1/auth/token', body, forged)).status);
    }
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429, 429]);
  });

  it('has books in order at the end of it', async () => {
    const none = new Map<string, never>();
    const books = { attempted: new Set<string>(), orders: none, refused: new Set<string>() };
    const found = async () => {
      const orders = await admin.all('/v1/orders');
      return orders.every(({ status }) => status === 'fulfilling');
    };
    await eventually(found, 90_000);
    const orders = await admin.all('/v1/orders');
    const attempted = new Set(orders.map(({ reference }) => reference as string));
    const adjusted = new Map([['for everybody', { delta: 1_000_000, acknowledged: true }]]);
    const nothing = { cancelled: new Set<string>(), dispatched: new Set<string>(), adjusted };
    expect(await checkInvariants(set.databaseUrl, { ...books, attempted, ...nothing })).toEqual([]);
  });

  it('finishes what is in flight at Ctrl-C, however often, and stops Postgres last', async () => {
    const { postmaster, supervisor } = set;
    const key = randomUUID();
    const slow = anOrder({ reference: key, paymentMethod: 'sandbox_slow' });
    const answer = admin.post('/v1/orders', slow, { 'idempotency-key': key, prefer: 'wait=20' });
    await eventually(async () => (await admin.get(`/v1/orders?reference=${key}`)).body.data.length === 1);
    supervisor.kill('SIGINT');
    await delay(100);
    supervisor.kill('SIGINT');
    expect(await answer).toMatchObject({ status: 202, body: { paymentStatus: 'paid' } });
    expect(await supervisor.exited).toMatchObject({ code: 0 });
    expect(supervisor.output.match(/SIGINT: finishing what is in flight$/gm)).toHaveLength(1);
    expect([postmaster, ...set.replicas.values()].filter(isAlive)).toEqual([]);
  });

  it('starts again after kill -9: the replicas end by themselves', async () => {
    await set.startAgain();
    const { postmaster, replicas, supervisor } = set;
    supervisor.kill('SIGKILL');
    await supervisor.exited;
    await eventually(() => ![...replicas.values()].some(isAlive), 30_000);
    await set.startAgain();
    expect(isAlive(postmaster)).toBe(false);
    const again = await set.admin();
    expect((await again.get('/v1/orders?limit=1')).body.data).toHaveLength(1);
  });

  it('says in one sentence what is wrong with its arguments, and what they are', async () => {
    const found = await Promise.all([run({}, '--help'), run({}, 'three'), run({}, '0'), run({}, '2', '3')]);
    expect(found[0]).toMatchObject({ code: 0, output: expect.stringContaining('Usage: npm run start:replicas') });
    const sentence = /^Say how many replicas, 1 to 16, such as npm run start:replicas -- 3; .* It got: .+\n$/;
    for (const each of found.slice(1)) expect(each).toEqual({ code: 1, output: expect.stringMatching(sentence) });
    const taken = await run({ PORT: String(set.port), DATA_DIR: set.directory });
    expect(taken).toEqual({ code: 1, output: expect.stringMatching(/^Port \d+ is in use: stop what listens there/) });
  });

  it('ends when a replica does not start, and says why', async () => {
    // enough for the migrations
    const name = `replicas_${process.pid}`;
    await administer(`create role ${name} login password 'secret' connection limit 1`);
    await administer(`create database ${name} owner ${name}`);
    try {
      const { hostname, port } = new URL(process.env['TEST_POSTGRES_URL']!);
      const DATABASE_URL = `postgres://${name}:secret@${hostname}:${port}/${name}`;
      const env = { DATABASE_URL, PORT: '0', DATA_DIR: set.directory };
      expect(await run(env)).toEqual({
        code: 1,
        output: expect.stringMatching(
          /^\[\d\] Cannot use the database .* too many connections(.*\n)+Replica \d ended with exit code 1 before it was ready\.\n$/m,
        ),
      });
    } finally {
      await administer(`drop database ${name} with (force)`);
      await administer(`drop role ${name}`);
    }
  });
});

async function run(env: Record<string, string>, ...args: string[]) {
  const once = new AppProcess(env, args, undefined, 'replicas/start');
  const { code } = await once.exited;
  return { code, output: once.output };
}

async function administer(statement: string): Promise<void> {
  const client = await connect(process.env['TEST_POSTGRES_URL']!);
  await client.query(statement).finally(() => client.end());
}
