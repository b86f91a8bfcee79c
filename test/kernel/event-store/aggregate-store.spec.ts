import { ExecutionContext, runInContext } from '../../../src/kernel/context';
import { DomainError } from '../../../src/kernel/domain-error';
import { AggregateStore } from '../../../src/kernel/event-store/aggregate-store';
import type { Decider } from '../../../src/kernel/event-store/decider';
import {
  AggregateTypeError,
  ContentionError,
  DuplicateCommandError,
  StateFormError,
  VersionMismatch,
} from '../../../src/kernel/event-store/errors';
import type { EventOf } from '../../../src/kernel/event-store/event';
import type { EventStore } from '../../../src/kernel/event-store/event-store';
import { newId } from '../../../src/kernel/ids';
import { createDatabase, type TestDatabase } from '../../support/database';
import { type OpenStore, openStore } from '../support';

type Taken = EventOf<'purse.taken', { amount: number }>;
type Filled = EventOf<'purse.filled', { amount: number }>;
type Closed = EventOf<'purse.closed', object>;
type PurseEvent = Taken | Filled | Closed;
interface Purse {
  readonly coins: number;
  readonly closed: boolean;
}
type PurseCommand = { type: 'fill' | 'take'; amount: number } | { type: 'close' };

const purse: Decider<Purse, PurseCommand, PurseEvent> = {
  type: 'purse',
  initial: { coins: 0, closed: false },
  decide(command, state) {
    if (command.type === 'close') return state.closed ? [] : [{ type: 'purse.closed' }];
    if (state.closed) throw new DomainError('conflict', 'closed', 'The purse is closed.');
    if (command.type === 'fill') return [{ type: 'purse.filled', amount: command.amount }];
    if (command.amount > state.coins) throw new DomainError('conflict', 'too-few', 'Not that many coins in it.');
    return [{ type: 'purse.taken', amount: command.amount }];
  },
  evolve(state, event) {
    switch (event.type) {
      case 'purse.filled':
        return { ...state, coins: state.coins + event.amount };
      case 'purse.taken':
        return { ...state, coins: state.coins - event.amount };
      case 'purse.closed':
        return { ...state, closed: true };
    }
  },
};

class Purses extends AggregateStore<Purse, PurseCommand, PurseEvent> {
  constructor(events: EventStore, decider = purse) {
    super(decider, events);
  }
}

describe('an aggregate store', () => {
  let db: TestDatabase;
  let opened: OpenStore;
  let purses: Purses;
  let id: string;

  beforeAll(async () => {
    db = await createDatabase();
    opened = await openStore(db.url);
    purses = new Purses(opened.store);
  });
  beforeEach(async () => {
    id = newId();
    await purses.decide(id, { type: 'fill', amount: 10 });
  });
  afterAll(async () => {
    await opened.close();
    await db.drop();
  });

  /** Somebody else's command, between the load and the append of the next decision. */
  const butFirst = (command: PurseCommand, times = 1) => {
    const interfering = Object.create(opened.store) as EventStore;
    let left = times;
    interfering.load = async (...args) => {
      const loaded = await opened.store.load(...args);
      if (left-- > 0) await purses.decide(id, command);
      return loaded;
    };
    return new Purses(interfering);
  };

  it('decides on what the log says, and answers with the state after it', async () => {
    expect(await purses.decide(id, { type: 'take', amount: 4 })).toEqual({
      state: { coins: 6, closed: false },
      version: 2,
    });
    expect(await purses.load(id)).toEqual({ state: { coins: 6, closed: false }, version: 2 });
  });

  it('appends nothing when there is nothing to do', async () => {
    await purses.decide(id, { type: 'close' });
    const head = await opened.store.head();
    expect(await purses.decide(id, { type: 'close' })).toEqual({ state: { coins: 10, closed: true }, version: 2 });
    expect(await opened.store.head()).toBe(head);
  });

  it('passes a refusal on', async () => {
    await expect(purses.decide(id, { type: 'take', amount: 11 })).rejects.toMatchObject({ code: 'too-few' });
    expect((await purses.load(id)).version).toBe(1);
  });

  it('decides anew when somebody was quicker', async () => {
    expect(await butFirst({ type: 'take', amount: 5 }).decide(id, { type: 'take', amount: 3 })).toEqual({
      state: { coins: 2, closed: false },
      version: 3,
    });
  });

  it('refuses what the newer state forbids', async () => {
    const late = butFirst({ type: 'take', amount: 5 }).decide(id, { type: 'take', amount: 8 });
    await expect(late).rejects.toMatchObject({ code: 'too-few' });
  });

  it('never takes more than there is, however many try at once', async () => {
    const takers = Array.from({ length: 25 }, () => purses.decide(id, { type: 'take', amount: 1 }));
    const results = await Promise.allSettled(takers);
    const taken = results.filter((result) => result.status === 'fulfilled').length;
    expect((await purses.load(id)).state.coins).toBe(10 - taken);
    for (const result of results) {
      if (result.status === 'fulfilled') continue;
      expect([ContentionError, DomainError]).toContain((result.reason as Error).constructor);
    }
  });

  it('gives up when others keep winning, and says that later helps', async () => {
    const work = butFirst({ type: 'fill', amount: 1 }, 100).decide(id, { type: 'fill', amount: 1 });
    await expect(work).rejects.toThrow(ContentionError);
    await expect(work).rejects.toMatchObject({ retryAfterMs: expect.any(Number) });
  });

  it('refuses when the aggregate is not at the version that the caller has read', async () => {
    const stale = purses.decide(id, { type: 'fill', amount: 1 }, { expectedVersion: 2 });
    await expect(stale).rejects.toThrow(VersionMismatch);
    await expect(stale).rejects.toMatchObject({ expected: 2, actual: 1 });
    const fresh = await purses.decide(id, { type: 'fill', amount: 1 }, { expectedVersion: 1 });
    expect(fresh.version).toBe(2);
  });

  it('refuses rather than decides anew when a version is expected and somebody was quicker', async () => {
    const work = butFirst({ type: 'fill', amount: 1 }).decide(id, { type: 'fill', amount: 1 }, { expectedVersion: 1 });
    await expect(work).rejects.toMatchObject({ name: 'VersionMismatch', expected: 1, actual: 2 });
  });

  describe('asked the same again', () => {
    it('has one effect, and answers with the version that it had', async () => {
      const commandId = newId();
      const first = await purses.decide(id, { type: 'take', amount: 3 }, { commandId });
      await purses.decide(id, { type: 'fill', amount: 1 });
      const again = await purses.decide(id, { type: 'take', amount: 3 }, { commandId });
      expect(again.version).toBe(first.version);
      expect((await purses.load(id)).state.coins).toBe(8);
    });

    it('answers with the first result rather than with the refusal that it would meet today', async () => {
      const commandId = newId();
      const first = await purses.decide(id, { type: 'take', amount: 8 }, { commandId, expectedVersion: 1 });
      await purses.decide(id, { type: 'close' });
      const again = await purses.decide(id, { type: 'take', amount: 8 }, { commandId, expectedVersion: 1 });
      expect(again.version).toBe(first.version);
      await expect(purses.decide(id, { type: 'take', amount: 8 })).rejects.toMatchObject({ code: 'closed' });
    });

    it('is one command of its context, whatever else is asked before it', async () => {
      const seed = newId();
      const request = (...commands: PurseCommand[]) =>
        runInContext(new ExecutionContext('system:a', seed), async () => {
          for (const command of commands) await purses.decide(id, command);
        });
      await request({ type: 'take', amount: 3 });
      // the code was changed before the repeat
      await request({ type: 'fill', amount: 1 }, { type: 'take', amount: 3 });
      expect((await purses.load(id)).state.coins).toBe(8);
      const [, , filled] = await opened.store.getEvents(id);
      expect(filled!.metadata).toMatchObject({ command: 'fill' });
    });

    it('is not mistaken for another command of the same id', async () => {
      const commandId = newId();
      await purses.decide(id, { type: 'take', amount: 3 }, { commandId });
      const [other, elsewhere] = [newId(), { type: 'take', amount: 3 } as const];
      await purses.decide(other, { type: 'fill', amount: 5 });
      await expect(purses.decide(other, elsewhere, { commandId })).rejects.toThrow(DuplicateCommandError);
      await expect(purses.decide(id, { type: 'fill', amount: 1 }, { commandId })).rejects.toThrow(
        `Command ${commandId} has been carried out as take of ${id}, so it cannot be carried out as fill of ${id}`,
      );
      // not even where the state forbids it, and only the id is left to tell by
      await purses.decide(id, { type: 'close' });
      await expect(purses.decide(id, { type: 'fill', amount: 1 }, { commandId })).rejects.toThrow(
        DuplicateCommandError,
      );
    });

    it('at the same moment: both are told the same', async () => {
      const commandId = newId();
      const twice = [1, 2].map(() => purses.decide(id, { type: 'take', amount: 3 }, { commandId }));
      expect(await Promise.all(twice)).toEqual([1, 2].map(() => ({ state: { coins: 7, closed: false }, version: 2 })));
    });
  });

  describe('whose state JSON cannot give back', () => {
    const folding = (state: () => unknown) =>
      new Purses(opened.store, { ...purse, evolve: () => ({ coins: 1, closed: false, ...(state() as object) }) });

    it.each([
      ['a Set', () => ({ seen: new Set([1]) }), 'a Set at .seen'],
      ['a Map', () => ({ lines: [{ by: new Map() }] }), 'a Map at .lines[0].by'],
      ['a Date', () => ({ at: new Date() }), 'a Date at .at'],
      ['an instance of a class', () => ({ at: new (class Money {})() }), 'a Money at .at'],
      ['undefined in a list', () => ({ list: [1, undefined] }), 'undefined at .list[1]'],
      ['NaN', () => ({ n: NaN }), 'the number NaN at .n'],
      ['-0', () => ({ n: -0 }), 'the number -0 at .n'],
      ['a bigint', () => ({ n: 1n }), 'a bigint at .n'],
      ['half a character', () => ({ text: '\ud800' }), 'text with a NUL or half a character at .text'],
    ])('is refused before its first append if it has %s in it', async (_, state, where) => {
      const fresh = newId();
      const refused = folding(state).decide(fresh, { type: 'fill', amount: 1 });
      await expect(refused).rejects.toThrow(StateFormError);
      await expect(refused).rejects.toThrow(`The state of purse has ${where}, which JSON cannot give back`);
      expect(await opened.store.getEvents(fresh)).toEqual([]);
    });

    it('may have members that are undefined, which are absent afterwards', async () => {
      const { version } = await folding(() => ({ note: undefined })).decide(id, { type: 'fill', amount: 1 });
      expect(version).toBe(2);
    });
  });

  describe('given the id of an aggregate of another type', () => {
    const wallets = () => new Purses(opened.store, { ...purse, type: 'wallet' });
    const mistake = () => ({
      name: 'AggregateTypeError',
      message:
        `Id ${id} belongs to an aggregate of type "purse", not "wallet". Ids are unique over all aggregate types: ` +
        'derive an id of your own, for example deriveId(id, "wallet")',
    });

    it('says so when it loads', async () => {
      await expect(wallets().load(id)).rejects.toMatchObject(mistake());
      await expect(wallets().load(id)).rejects.toThrow(AggregateTypeError);
    });

    it('says so when it decides, at once, whether or not anything would be appended', async () => {
      const head = await opened.store.head();
      await expect(wallets().decide(id, { type: 'fill', amount: 1 })).rejects.toMatchObject(mistake());
      const nothingToDo = new Purses(opened.store, { ...purse, type: 'wallet', decide: () => [] });
      await expect(nothingToDo.decide(id, { type: 'close' })).rejects.toMatchObject(mistake());
      expect(await opened.store.head()).toBe(head);
    });

    it('finds nothing, for ids that come from a client', async () => {
      expect(await wallets().find(id)).toBeUndefined();
      expect(await purses.find(newId())).toBeUndefined();
      expect(await purses.find(id)).toEqual({ state: { coins: 10, closed: false }, version: 1 });
    });

    it('passes on the refusal of a decider that wants the aggregate to exist', async () => {
      const refusal = new DomainError('not-found', 'wallet-unknown', 'There is no such wallet.');
      const decide = () => {
        throw refusal;
      };
      const strict = new Purses(opened.store, { ...purse, type: 'wallet', decide });
      await expect(strict.decide(id, { type: 'close' })).rejects.toBe(refusal);
    });
  });
});
