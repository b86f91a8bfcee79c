import { createDatabase } from '../../support/database';
import { Database } from '../../../src/kernel/database/database';
import { SagaTimers } from '../../../src/kernel/sagas/saga-runner';
import { Subscriptions } from '../../../src/kernel/subscriptions/subscriptions';
import { DataSource } from 'typeorm';
import { connect, startKernel } from '../support';
import { Applied, appliedTable } from './applied';
it('times', async () => {
  const t0 = performance.now();
  const lap = (s: string) => process.stderr.write(`${s} ${Math.round(performance.now() - t0)}\n`);
  const db = await createDatabase();
  const tester = await connect(db.url);
  await tester.query(appliedTable);
  const k = await startKernel(db.url, [Applied]);
  lap('k');
  const wrap = (o: any, m: string, n: string) => {
    const f = o[m].bind(o);
    o[m] = async (...a: any[]) => {
      lap(`> ${n}`);
      await f(...a);
      lap(`< ${n}`);
    };
  };
  const s = k.get(Subscriptions) as any, d = k.get(Database) as any;
  wrap(s, 'onApplicationShutdown', 'subs');
  wrap(d, 'onApplicationShutdown', 'db');
  wrap(d.pool, 'end', 'pool');
  wrap(d.relaxed, 'end', 'relaxed');
  wrap(d.appends, 'end', 'appends');
  wrap(k.get(SagaTimers), 'onApplicationShutdown', 'timers');
  wrap(k.get(DataSource), 'destroy', 'ds');
  wrap(s.leases, 'stop', 'leases');
  wrap(s.tail, 'stop', 'tail');
  for (const [n, r] of s.runners) wrap(r, 'stop', n);
  await k.close();
  lap('closed');
  await tester.end();
  await db.drop();
});
