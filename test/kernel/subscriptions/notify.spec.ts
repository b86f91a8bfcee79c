import type { Client } from 'pg';
import { EventType } from '../../../src/kernel/event-store/event-type';
import { Reaction } from '../../../src/kernel/subscriptions/reaction';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, connect, eventually, happened, type Kernel, kill, settings, startKernel } from '../support';

@EventType('thing.happened')
class Happened {}

@Reaction({ name: 'test.heard' }, Happened)
class Heard {
  next: () => void = () => undefined;
  handle(): void {
    this.next();
  }
}

/** A process that hears nothing polls ever less often, down to twice a second. */
const slowestPollMs = 500;

describe('an event that another process appends after a time of quiet', () => {
  let db: TestDatabase;
  let tester: Client;
  const kernels: Kernel[] = [];

  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
  });
  afterEach(async () => {
    await Promise.all(kernels.splice(0).map((each) => each.close()));
    settings.notify = true;
  });
  afterAll(async () => {
    await tester.end();
    await db.drop();
  });

  const start = async () => {
    const reader = await startKernel(db.url, [Heard]);
    const writer = await startKernel(db.url);
    kernels.push(reader, writer);
    return { reader, writer, polled: watchPolls(reader) };
  };
  /** From the acknowledgement to the handler, in ms; appended right behind a poll, so that the next one is far. */
  const delays = async (times: number, { reader, writer, polled }: Awaited<ReturnType<typeof start>>) => {
    const measured: number[] = [];
    for (let n = 0; n < times; n++) {
      const heard = new Promise<void>((resolve) => (reader.get(Heard).next = resolve));
      await polled();
      await writer.store.append(aThing(), [happened(n)]);
      const acknowledged = performance.now();
      await heard;
      measured.push(performance.now() - acknowledged);
    }
    return median(measured);
  };

  it('is heard of long before the next poll', async () => {
    expect(await delays(3, await start())).toBeLessThan(slowestPollMs / 3);
  });

  it('is heard of as soon after the session that listens was lost and made anew', async () => {
    const processes = await start();
    const sessions = async () =>
      (
        await tester.query<{ pid: number }>(
          `select pid from pg_stat_activity where datname = current_database() and application_name = 'orderloom/leases'`,
        )
      ).rows.map(({ pid }) => pid);
    const before = await sessions();
    await kill(tester, 'orderloom/leases');
    await eventually(async () => {
      const now = await sessions();
      return now.length === before.length && !now.some((pid) => before.includes(pid));
    });
    expect(await delays(3, processes)).toBeLessThan(slowestPollMs / 3);
  });

  it('is heard of at the next poll without NOTIFY: that is what the others would see if it were broken', async () => {
    settings.notify = false;
    const slow = await delays(1, await start());
    expect(slow).toBeGreaterThan(slowestPollMs / 3);
    expect(slow).toBeLessThan(4 * slowestPollMs);
  });
});

/** @returns a function that resolves right behind a poll after which the process pauses as long as it ever does */
function watchPolls({ store }: Kernel): () => Promise<void> {
  const readLog = store.readLog.bind(store);
  let last = performance.now();
  let onSlowPoll = () => {};
  store.readLog = async (...args) => {
    const quietFor = performance.now() - last;
    const events = await readLog(...args);
    last = performance.now();
    if (events.length <= 1 && quietFor > slowestPollMs * 0.9) onSlowPoll();
    return events;
  };
  return () => new Promise((resolve) => (onSlowPoll = resolve));
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}
