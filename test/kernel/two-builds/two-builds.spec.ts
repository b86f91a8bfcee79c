import { join } from 'node:path';
import type { Client } from 'pg';
import { createDatabase, type TestDatabase } from '../../support/database';
import { Child } from '../child';
import { connect, eventually } from '../support';
import { type Build, views } from './builds';
import type { Part } from './process';

jest.setTimeout(90_000);

describe('two builds over one database, under load', () => {
  let database: TestDatabase;
  let tester: Client;
  const running: Child[] = [];
  let started = 0;
  /** Rows of the old shape that were seen after the swap. */
  const outdated: object[] = [];
  let watching = true;
  let watched: Promise<void>;

  beforeAll(async () => {
    database = await createDatabase();
    tester = await connect(database.url);
    await tester.query(views);
    watched = watch(await connect(database.url));
  });
  afterAll(async () => {
    for (const child of running) child.kill();
    watching = false;
    await watched;
    await tester.end();
    await database.drop();
  });

  async function start(build: Build): Promise<Child> {
    const part: Part = { databaseUrl: database.url, build, first: started++ * 1_000_000 };
    const child = new Child(join(__dirname, 'process.js'), part);
    running.push(child);
    await child.done('start');
    return child;
  }

  async function stop(child: Child): Promise<void> {
    await child.tell('stop');
    await child.tell('close');
    expect(child.violations).toEqual([]);
  }

  /** Version and rows in one statement, so that both are of one moment. */
  async function watch(client: Client): Promise<void> {
    while (watching) {
      const { rows } = await client.query<{ version: number; id: string }>(
        `select c.version, t.id from subscriptions.checkpoints c, views.things t
         where c.name = 'builds.things' and c.version > 1 and t.sum is null`,
      );
      outdated.push(...rows);
    }
    await client.end();
  }

  async function first<T extends object>(text: string): Promise<T> {
    return (await tester.query<T>(text)).rows[0]!;
  }

  const count = (text: string) => first<{ n: number }>(`select count(*)::int as n from ${text}`).then(({ n }) => n);
  const isOwned = () => count(`subscriptions.checkpoints where name = 'builds.echo' and owner is not null`);
  const heard = (type: string) =>
    count(`event_store.events e join event_store.events h on h.event_type = 'echo.heard'
           and h.payload -> 'n' = e.payload -> 'n' where e.event_type = '${type}'`);

  it('starts with the old one alone, which writes rows of its shape', async () => {
    await start('old');
    await eventually(async () => (await count('views.things where sum is null')) > 0);
    await eventually(async () => (await heard('thing.happened')) > 100);
  });

  it('swaps the view while the old one runs, and hands the reaction to the new one', async () => {
    await start('new');
    await eventually(() => count(`subscriptions.checkpoints where name = 'builds.things' and version = 2`), 20_000);
    await eventually(async () => (await heard('thing.noted')) > 100);
    expect(await isOwned()).toBe(1);
  });

  it('goes on while the old one is restarted beside it', async () => {
    await stop(running[0]!);
    const before = await heard('thing.noted');
    await start('old');
    await eventually(async () => (await heard('thing.noted')) > before + 100);
  });

  it('leaves to the new one what the old one does not know, also while the new one is down', async () => {
    const [, killed, old] = running;
    killed!.kill();
    const written = () => count(`event_store.events where event_type = 'thing.happened'`);
    const before = await written();
    // long enough for its leases to be free, and for the old one to look for such
    await eventually(async () => (await written()) > before + 300, 20_000);
    const again = await start('new');
    const noted = await heard('thing.noted');
    await eventually(async () => (await heard('thing.noted')) > noted + 100);
    await stop(old!);
    await again.tell('stop');
  });

  it('has skipped nothing in the end, and has repeated no effect', async () => {
    await eventually(
      async () =>
        (await count(`subscriptions.checkpoints
          where position < (select max(position) from event_store.events) and name like 'builds.%'`)) === 0,
      20_000,
    );
    const letters = await tester.query(
      `select subscription, position, event_type, error from subscriptions.dead_letters where state = 'failed' limit 5`,
    );
    expect(letters.rows).toEqual([]);
    const skipped = await tester.query(
      `select e.event_type, count(*)::int as skipped from event_store.events e
       where e.aggregate_type = 'thing' and not exists (
         select from event_store.events h where h.event_type = 'echo.heard' and h.payload -> 'n' = e.payload -> 'n')
       group by e.event_type`,
    );
    const repeated = await tester.query(
      `select payload ->> 'n' as n, count(*) from event_store.events where event_type = 'echo.heard'
       group by 1 having count(*) > 1`,
    );
    expect(skipped.rows).toEqual([]);
    expect(repeated.rows).toEqual([]);
    await running.at(-1)!.tell('close');
  });

  it('never shows a row of the old shape after the swap', () => {
    expect(outdated).toEqual([]);
  });

  it('shows the fold of the log in the end', async () => {
    const wrong = await tester.query(
      `select * from views.things v full join (
         select aggregate_id as id, max(version) as version, count(*)::int as events, sum((payload ->> 'n')::bigint)::bigint as sum
         from event_store.events where aggregate_type = 'thing' group by 1) e using (id)
       where (v.version, v.events, v.sum) is distinct from (e.version, e.events, e.sum)`,
    );
    expect(wrong.rows).toEqual([]);
  });
});
