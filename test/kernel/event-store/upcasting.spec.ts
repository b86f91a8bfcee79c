import { newId } from '../../../src/kernel/ids';
import { upcast } from '../../../src/kernel/event-store/upcasting';
import { createDatabase, type TestDatabase } from '../../support/database';
import { connect, type OpenStore, openStore } from '../support';

// Version 1 had one name, version 2 two parts of it, version 3 says of what the event is.
upcast(
  'person.named',
  ({ name }) => ({ first: String(name).split(' ')[0], last: String(name).split(' ')[1] }),
  ({ first, last }) => ({ person: { first, last } }),
);

describe('an old shape of an event', () => {
  let db: TestDatabase;
  let opened: OpenStore;

  beforeAll(async () => {
    db = await createDatabase();
    opened = await openStore(db.url);
  });
  afterAll(async () => {
    await opened.close();
    await db.drop();
  });

  /** As a process of those days wrote it. */
  const stored = async (schemaVersion: number, payload: object): Promise<string> => {
    const id = newId();
    const tester = await connect(db.url);
    await tester.query(
      `select * from event_store.append(array[$1::uuid], array['person'], array[null::int], array[1], array[gen_random_uuid()],
         array['person.named'], array[$2::smallint], array[$3::jsonb], array['{"commandId":"x"}'::jsonb])`,
      [id, schemaVersion, JSON.stringify(payload)],
    );
    await tester.end();
    return id;
  };
  const read = async (id: string) => (await opened.store.getEvents(id))[0]!;
  const today = { person: { first: 'Ada', last: 'Lovelace' } };

  it.each([
    [1, { name: 'Ada Lovelace' }],
    [2, { first: 'Ada', last: 'Lovelace' }],
    [3, today],
  ])('of version %d is read in the shape of today', async (version, payload) => {
    expect((await read(await stored(version, payload))).payload).toEqual(today);
  });

  it('stays in the log as it was', async () => {
    const id = await stored(1, { name: 'Ada Lovelace' });
    await read(id);
    const { rows } = await opened.database.pool.query(
      'select payload from event_store.events where aggregate_id = $1',
      [id],
    );
    expect(rows).toEqual([{ payload: { name: 'Ada Lovelace' } }]);
  });

  it('is not written any more', async () => {
    const id = newId();
    await opened.store.append({ type: 'person', id }, [{ type: 'person.named', ...today }]);
    expect(await read(id)).toMatchObject({ schemaVersion: 3, payload: today });
  });

  it('has its upcasters once', () => {
    expect(() => upcast('person.named', (payload) => ({ ...payload }))).toThrow('already');
  });
});
