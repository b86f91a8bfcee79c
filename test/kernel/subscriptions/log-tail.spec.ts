import { LogTail } from '../../../src/kernel/subscriptions/log-tail';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, happened, type OpenStore, openStore } from '../support';

describe('the tail of the log', () => {
  let db: TestDatabase;
  let here: OpenStore;
  let elsewhere: OpenStore;

  beforeAll(async () => {
    db = await createDatabase();
    here = await openStore(db.url);
    elsewhere = await openStore(db.url);
  });
  afterAll(async () => {
    await here.close();
    await elsewhere.close();
    await db.drop();
  });

  it('looks for what another process wrote, also while its own answers come in without a pause', async () => {
    let answered: Parameters<typeof here.store.onCommitted>[0] = () => undefined;
    const onCommitted = here.store.onCommitted.bind(here.store);
    here.store.onCommitted = (listener) => onCommitted((answered = listener));
    // until then no look has found it
    let flooding = false;
    const readLog = here.store.readLog.bind(here.store);
    here.store.readLog = (...where) => (flooding ? readLog(...where) : Promise.resolve([]));
    const tail = new LogTail(here.store);
    await tail.start();
    await elsewhere.store.append(aThing(), [happened(1)]);
    const mine = aThing();
    await here.store.append(mine, [happened(2)]);
    const events = await here.store.getEvents(mine.id);
    flooding = true;
    for (const begun = performance.now(); tail.head < 2 && performance.now() - begun < 3000;) {
      answered(events);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { head } = tail;
    await tail.stop();
    expect(head).toBe(2);
  });
});
