import { DomainError } from '../../../src/kernel/domain-error';
import { newId } from '../../../src/kernel/ids';
import { PersonalData } from '../../../src/kernel/personal-data/personal-data';
import type { Sealed } from '../../../src/kernel/personal-data/sealed';
import { createDatabase, type TestDatabase } from '../../support/database';
import { type OpenStore, openStore } from '../support';

interface Home {
  readonly street: string;
  readonly city?: string;
}

describe('personal data', () => {
  let db: TestDatabase;
  let opened: OpenStore;
  let personalData: PersonalData;
  let ada: string;
  const home: Home = { street: 'St James’s Square', city: 'London' };

  beforeAll(async () => {
    db = await createDatabase();
    opened = await openStore(db.url);
    personalData = new PersonalData(opened.database);
  });
  beforeEach(() => {
    ada = newId();
  });
  afterAll(async () => {
    await opened.close();
    await db.drop();
  });

  const erase = (person: string) =>
    opened.store.transaction(async (manager) => {
      await personalData.erase(person, manager);
      return { result: undefined, announce: [] };
    });

  it('says nothing while it is sealed, and is what it was once it is opened', async () => {
    const sealed = await personalData.seal(ada, home);
    expect(JSON.stringify(sealed)).not.toMatch(/James|London/);
    expect(await personalData.open(sealed)).toEqual(home);
  });

  it('survives the log', async () => {
    const sealed = await personalData.seal(ada, home);
    await opened.store.append({ type: 'thing', id: ada }, [{ type: 'thing.happened', sealed } as { type: string }]);
    const [event] = await opened.store.getEvents(ada);
    expect(await personalData.open(event!.payload['sealed'] as Sealed<Home>)).toEqual(home);
  });

  it('is equal where it says the same of one person, in whatever order, and never otherwise', async () => {
    const { sealed } = await personalData.seal(ada, home);
    expect((await personalData.seal<Home>(ada, { city: home.city, street: home.street })).sealed).toBe(sealed);
    expect((await personalData.seal(ada, { ...home, city: undefined })).sealed).not.toBe(sealed);
    expect((await personalData.seal(newId(), home)).sealed).not.toBe(sealed);
  });

  it('has one key a person, however many seal at once', async () => {
    const sealed = await Promise.all(Array.from({ length: 20 }, () => personalData.seal(ada, home)));
    expect(new Set(sealed.map((each) => each.sealed)).size).toBe(1);
  });

  it('cannot be passed off as another person’s, or changed', async () => {
    const sealed = await personalData.seal(ada, home);
    const eve = newId();
    await personalData.seal(eve, home);
    await expect(personalData.open({ ...sealed, person: eve })).rejects.toThrow();
    const other = sealed.sealed.startsWith('A') ? 'B' : 'A';
    await expect(personalData.open({ ...sealed, sealed: other + sealed.sealed.slice(1) })).rejects.toThrow();
  });

  it('is revealed wherever it stands in an answer, and the rest is left as it is', async () => {
    const at = new Date();
    const answer = { at, none: null, n: 1, data: [{ home: await personalData.seal(ada, home) }, 'text'] };
    expect(await personalData.reveal(answer)).toEqual({ at, none: null, n: 1, data: [{ home }, 'text'] });
    const plain = { at };
    expect(await personalData.reveal(plain)).toBe(plain);
  });

  it('recorded before there were seals is shown as it stands', async () => {
    expect(await personalData.open(home as unknown as Sealed<Home>)).toEqual(home);
    expect(await personalData.reveal({ home })).toEqual({ home });
  });

  describe('of a person who was erased', () => {
    it('cannot be opened any more, and shows its shape only', async () => {
      const sealed = await personalData.seal(ada, home);
      const others = await personalData.seal(newId(), home);
      await erase(ada);
      expect(await personalData.open(sealed)).toBeUndefined();
      expect(await personalData.reveal([sealed, others])).toEqual([{ street: '[erased]', city: '[erased]' }, home]);
    });

    it('leaves no key behind', async () => {
      await personalData.seal(ada, home);
      await erase(ada);
      await erase(ada);
      const { rows } = await opened.database.pool.query('select * from personal_data.keys where person = $1', [ada]);
      expect(rows).toMatchObject([{ key: null, erased_by: 'system', erased_at: expect.any(Date) as Date }]);
    });

    it('is not sealed anew, whether or not there ever was a key', async () => {
      await personalData.seal(ada, home);
      await erase(ada);
      await expect(personalData.seal(ada, home)).rejects.toMatchObject({ code: 'person-erased' });
      const nobody = newId();
      await erase(nobody);
      await expect(personalData.seal(nobody, home)).rejects.toBeInstanceOf(DomainError);
    });

    it('stays readable when what was to be committed with the erasure is not', async () => {
      const sealed = await personalData.seal(ada, home);
      const failing = opened.store.transaction(async (manager) => {
        await personalData.erase(ada, manager);
        throw new Error('something else failed');
      });
      await expect(failing).rejects.toThrow('something else');
      expect(await personalData.open(sealed)).toEqual(home);
    });
  });
});
