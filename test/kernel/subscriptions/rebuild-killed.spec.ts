import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Client } from 'pg';
import { createDatabase, type TestDatabase } from '../../support/database';
import type { Edit } from '../child';
import { aThing, connect, forgetEverything, happened, type Kernel, startKernel } from '../support';
import { foldedSums, rebuilt, Sums, sums, sumsTable } from './sums';

/** Where the process kills itself: behind this text of the rebuild's source. */
const points: readonly (readonly [where: string, behind: string])[] = [
  [
    'before the new table is committed',
    `await client.query('select subscriptions.begin_rebuild($1)', [this.projection.table]);`,
  ],
  ['before the first event is applied', `if (from === undefined) return;`],
  ['once all events are applied', `if (this.pause) return false;`],
  [
    'before the swap is committed',
    `await client.query('select subscriptions.finish_rebuild($1)', [this.projection.table]);`,
  ],
  ['once the swap is committed', `if (await this.swap(lease)) {`],
];

const killItself = (behind: string): Edit => ({
  file: 'src/kernel/subscriptions/rebuild-runner.ts',
  find: behind,
  replace: `${behind}\nprocess.kill(process.pid, 'SIGKILL');`,
});

describe('a rebuild whose process is killed', () => {
  let db: TestDatabase;
  let tester: Client;
  let kernel: Kernel | undefined;

  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
    await tester.query(sumsTable);
  });
  beforeEach(async () => {
    await forgetEverything(tester);
    await tester.query('truncate test_view.sums');
  });
  afterEach(() => kernel?.close());
  afterAll(async () => {
    await tester.end();
    await db.drop();
  });

  it.each(points)('%s is finished by the next one', async (_, behind) => {
    const first = await startKernel(db.url, [Sums]);
    await Promise.all(Array.from({ length: 100 }, (_, n) => first.store.append(aThing(), [happened(n)])));
    await first.subscriptions.idle();
    await first.close();
    await tester.query('update test_view.sums set sum = 99');

    const child = spawn(process.execPath, [join(__dirname, '../fixtures/rebuild-child.js'), db.url], {
      env: { ...process.env, PLANTED: JSON.stringify([killItself(behind)]) },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);

    kernel = await startKernel(db.url, [Sums]);
    await rebuilt(kernel);
    await kernel.store.append(aThing(), [happened(1)]);
    await kernel.subscriptions.idle();
    expect(await sums(tester)).toEqual(await foldedSums(tester));
    const { rows } = await tester.query(
      `select relname from pg_class where relnamespace = 'test_view'::regnamespace order by 1`,
    );
    expect(rows).toEqual([{ relname: 'sums' }, { relname: 'sums_pkey' }]);
  });
});
