import type { Client } from 'pg';
import { EventType } from '../../../src/kernel/event-store/event-type';
import { Reaction } from '../../../src/kernel/subscriptions/reaction';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, connect, eventually, happened, type Kernel, startKernel } from '../support';
import { Applied, applied, appliedTable } from './applied';

@EventType('thing.happened')
class Happened {
  readonly n!: number;
}

const heard: number[] = [];
@Reaction({ name: 'test.heard', segments: 2 }, Happened)
class Heard {
  handle({ n }: Happened): void {
    heard.push(n);
  }
}

/** Readers that wait for all older transactions to end are stalled by one that nobody ends, whoever has begun it. */
describe('a transaction that has written something and stays open', () => {
  let db: TestDatabase;
  let tester: Client;
  const kernels: Kernel[] = [];
  const foreigners: Client[] = [];

  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
    await tester.query(`${appliedTable}; create table test_view.other (n integer)`);
  });
  afterAll(async () => {
    await Promise.all(foreigners.map((each) => each.end()));
    await Promise.all(kernels.map((each) => each.close()));
    await tester.end();
    await db.drop();
  });

  const begin = async (url: string, statement: string) => {
    const foreigner = await connect(url);
    foreigners.push(foreigner);
    await foreigner.query('begin isolation level repeatable read');
    await foreigner.query(statement);
  };
  const open = async () => {
    const { rows } = await tester.query(
      `select datname from pg_stat_activity where pid = any($1) and state = 'idle in transaction' and backend_xid is not null`,
      [
        await Promise.all(
          foreigners.map(async (each) => (await each.query('select pg_backend_pid() as pid')).rows[0].pid),
        ),
      ],
    );
    return rows.length;
  };

  it('in this database and in another of the server holds up neither writers nor readers', async () => {
    await begin(db.url, 'insert into test_view.other values (1)');
    await begin(Object.assign(new URL(db.url), { pathname: '/postgres' }).href, 'create temp table mine (n integer)');
    for (let nth = 0; nth < 2; nth++) kernels.push(await startKernel(db.url, [Applied, Heard]));
    expect(await open()).toBe(2);

    const count = 200;
    await Promise.all(Array.from({ length: count }, (_, n) => kernels[n % 2]!.store.append(aThing(), [happened(n)])));
    await eventually(async () => heard.length >= count && (await applied(tester)).length >= count);
    const all = Array.from({ length: count }, (_, n) => n);
    expect((await applied(tester)).map(({ position }) => position)).toEqual(all.map((n) => n + 1));
    expect(heard.toSorted((a, b) => a - b)).toEqual(all);
    expect(await open()).toBe(2);
  });
});
