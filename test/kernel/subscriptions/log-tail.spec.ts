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
    let looks = 0;
    const readLog = here.store.readLog.bind(here.store);
    here.store.readLog = (...where) => {
      looks++;
      return readLog(...where);
    };
    await elsewhere.store.append(aThing(), [happened(1)]);
    const mine = aThing();
    await here.store.append(mine, [happened(2)]);
    const events = await here.store.getEvents(mine.id);
    // a clock of our own: on a busy machine there is always a pause
    jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask', 'Date'] });
    here.store.newest = () => Promise.resolve(undefined);
    const tail = new LogTail(here.store);
    await tail.start();
    for (let ms = 0; ms < 10; ms++) {
      answered(events);
      jest.advanceTimersByTime(1);
    }
    jest.useRealTimers();
    await tail.stop();
    expect(looks).toBeGreaterThan(0);
    expect(tail.head).toBe(2);
  });
});
