import type { Client } from 'pg';
import { Permits } from '../../src/gateway/rate-limits/permits';
import { Logger } from '@nestjs/common';
import { Database } from '../../src/kernel/database/database';
import { connect, eventually } from '../kernel/support';
import { createDatabase, type TestDatabase } from '../support/database';
import { random } from '../support/random';

interface Replica {
  readonly permits: Permits;
  readonly database: Database;
}

const hour = 3600;

describe('permits', () => {
  let db: TestDatabase;
  let tester: Client;
  let replicas: Replica[];

  beforeAll(async () => {
    Logger.overrideLogger(false);
    db = await createDatabase();
    tester = await connect(db.url);
  });
  beforeEach(async () => {
    await tester.query('truncate gateway.rate_limits');
    replicas = [open(), open(), open()];
  });
  afterEach(() => Promise.all(replicas.map(close)));
  afterAll(async () => {
    await tester.end();
    await db.drop();
  });

  /** What one process has. */
  function open(): Replica {
    const database = new Database(db.appUrl);
    const permits = new Permits(database);
    permits.onModuleInit();
    return { permits, database };
  }
  async function close({ permits, database }: Replica): Promise<void> {
    await permits.beforeApplicationShutdown();
    await database.onApplicationShutdown();
  }
  const taken = async (key: string) => {
    const { rows } = await tester.query('select taken from gateway.rate_limits where key = $1', [key]);
    return (rows[0] as { taken: number } | undefined)?.taken;
  };
  const statements = (replica: Replica) => jest.spyOn(replica.database.relaxed, 'query');
  const ask = async (nth: number, key: string, quota: number, seconds = hour) =>
    (await replicas[nth]!.permits.take(key, { quota, seconds })).allowed;

  it.each([1, 2, 3, 4, 5, 6])(
    'are given out to the unit, whichever processes are asked and when (seed %i)',
    async (seed) => {
      const next = random(seed);
      const key = `random ${seed}`;
      const quota = 1 + Math.floor(next() * 300);
      // some processes take long breaks with permits in hand, some ask for many at once
      const shares = replicas.map(() => next() ** 3);
      const pick = () => {
        const at = next() * shares.reduce((sum, share) => sum + share, 0);
        return Math.max(
          0,
          shares.findIndex((_, nth) => at < shares.slice(0, nth + 1).reduce((sum, s) => sum + s, 0)),
        );
      };
      let allowed = 0;
      let asked = 0;
      while (asked < quota + 20) {
        const burst = Math.min(quota + 20 - asked, 1 + Math.floor(next() ** 4 * 80));
        asked += burst;
        const verdicts = await Promise.all(Array.from({ length: burst }, () => ask(pick(), key, quota)));
        allowed += verdicts.filter(Boolean).length;
        expect(allowed).toBe(Math.min(asked, quota));
      }
      for (const nth of replicas.keys()) expect(await ask(nth, key, quota)).toBe(false);
      expect(await taken(key)).toBe(quota);
    },
  );

  it('mostly cost no query', async () => {
    const queries = statements(replicas[0]!);
    for (let n = 0; n < 1000; n++) expect(await ask(0, 'cheap', 1000)).toBe(true);
    const leases = queries.mock.calls.filter(([sent]) => (sent as { name?: string }).name === 'rate-limits.lease');
    expect(leases.length).toBeLessThan(40);
    const before = queries.mock.calls.length;
    for (let n = 0; n < 1000; n++) expect(await ask(0, 'cheap', 1000)).toBe(false);
    expect(queries.mock.calls.length - before).toBeLessThan(5);
  });

  it('of many keys that come at once are asked for in few statements', async () => {
    const queries = statements(replicas[0]!);
    await Promise.all(Array.from({ length: 2000 }, (_, n) => ask(0, `many ${n}`, 10)));
    expect(queries.mock.calls.length).toBeLessThan(15);
  });

  it('begin anew with each window, which is the same for all processes', async () => {
    for (let n = 0; n < 3; n++) expect(await ask(n, 'short', 3, 2)).toBe(true);
    for (let n = 0; n < 3; n++) expect(await ask(n, 'short', 3, 2)).toBe(false);
    await eventually(() => ask(0, 'short', 3, 2));
    expect(await ask(1, 'short', 3, 2)).toBe(true);
    expect(await ask(2, 'short', 3, 2)).toBe(true);
    expect(await ask(0, 'short', 3, 2)).toBe(false);
  });

  it('of a process that ends go back to the others', async () => {
    expect(await ask(0, 'ended', 8)).toBe(true);
    expect(await taken('ended')).toBe(2);
    await close(replicas.shift()!);
    expect(await taken('ended')).toBe(1);
    for (let n = 0; n < 7; n++) expect(await ask(n % 2, 'ended', 8)).toBe(true);
    expect(await ask(0, 'ended', 8)).toBe(false);
  });

  it('of a process that was killed are lost until the window ends: no more than a quarter of what was left', async () => {
    // in no statement and on no timer from here on, as if it had been killed
    const [killed] = replicas;
    await killed!.permits.take('killed', { quota: 40, seconds: hour });
    for (const timer of (killed!.permits as unknown as { timers: NodeJS.Timeout[] }).timers) clearInterval(timer);
    let allowed = 0;
    while (await ask(1, 'killed', 40)) allowed++;
    expect(allowed).toBe(30);
    // nobody waits for it a second time
    const began = performance.now();
    for (let n = 0; n < 100; n++) expect(await ask(1, 'killed', 40)).toBe(false);
    expect(performance.now() - began).toBeLessThan(500);
  });

  it('are counted by each process alone while the database does not count, and by all again afterwards', async () => {
    await tester.query('alter table gateway.rate_limits rename to away');
    for (const nth of [0, 1]) {
      for (let n = 0; n < 5; n++) expect(await ask(nth, 'away', 5)).toBe(true);
      expect(await ask(nth, 'away', 5)).toBe(false);
    }
    await tester.query('alter table gateway.away rename to rate_limits');
    await eventually(async () => {
      await ask(0, `back`, 1_000_000);
      return (await taken('back')) !== undefined;
    });
  });

  it('do not hold requests up for longer than a second when the database does not answer', async () => {
    const lock = await connect(db.url);
    await lock.query('begin; lock table gateway.rate_limits in access exclusive mode');
    const began = performance.now();
    expect(await ask(0, 'locked', 5)).toBe(true);
    expect(performance.now() - began).toBeLessThan(3000);
    // and no longer at all from then on, also while the database is tried again
    const later = performance.now();
    for (let n = 0; n < 5; n++) {
      await ask(0, `locked ${n}`, 5);
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    expect(performance.now() - later).toBeLessThan(2400);
    await lock.query('rollback');
    await lock.end();
  });

  it('take bounded memory, however many keys there are; what makes room gives its permits back', async () => {
    const [replica] = replicas;
    expect(await ask(0, 'first', 100)).toBe(true);
    expect(await taken('first')).toBe(25);
    for (let n = 0; n < 60; n++) {
      await Promise.all(Array.from({ length: 1000 }, (_, m) => ask(0, `address ${n} ${m}`, 100)));
    }
    const { accounts } = replica!.permits as unknown as { accounts: Map<string, unknown> };
    expect(accounts.size).toBeLessThanOrEqual(50_000);
    expect(await taken('first')).toBe(1);
    expect(await ask(0, 'first', 100)).toBe(true);
  });
});
