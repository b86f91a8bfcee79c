import type { IEventHandler } from '@nestjs/cqrs';
import type { Client } from 'pg';
import { EventStore } from '../../../src/kernel/event-store/event-store';
import { EventType } from '../../../src/kernel/event-store/event-type';
import { deriveId } from '../../../src/kernel/ids';
import { Reaction } from '../../../src/kernel/subscriptions/reaction';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, connect, eventually, happened, type Kernel, startKernel } from '../support';

@EventType('thing.happened')
class ThingHappened {
  readonly thingId!: string;
}

/** What the code of the handler is, which a release may change between two deliveries of one event. */
let code: (store: EventStore, thingId: string) => Promise<unknown>;

@Reaction({ name: 'test.changing' }, ThingHappened)
class Changing implements IEventHandler<ThingHappened> {
  constructor(private readonly store: EventStore) {}

  async handle({ thingId }: ThingHappened): Promise<void> {
    await code(this.store, thingId);
  }
}

const noteOf = (thingId: string) => ({ type: 'note', id: deriveId(thingId, 'note') });
const append = (store: EventStore, thingId: string, ...types: string[]) =>
  store.append(
    noteOf(thingId),
    types.map((type) => ({ type })),
  );

describe('an event whose handler was changed after it had failed', () => {
  let db: TestDatabase;
  let tester: Client;
  let kernel: Kernel;
  let thing: ReturnType<typeof aThing>;

  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
    kernel = await startKernel(db.url, [Changing]);
  });
  afterAll(async () => {
    await kernel.close();
    await tester.end();
    await db.drop();
  });

  const letters = async () => {
    const all = await kernel.deadLetters.list({ subscription: 'test.changing' }, 100);
    return all.filter(({ partition }) => partition === thing.id);
  };
  const tell = async () => {
    thing = aThing();
    await kernel.store.append(thing, [happened(1, { thingId: thing.id })]);
    return eventually(async () => (await letters())[0]);
  };
  const replay = async (position: number) => {
    await kernel.deadLetters.requestReplay('test.changing', position, 'user:1');
    await eventually(async () => (await letters())[0]!.state === 'replayed');
  };
  const notes = async () => (await kernel.store.getEvents(noteOf(thing.id).id)).map(({ eventType }) => eventType);
  /** The first release: it appends `note.a`, by the id that `commandId` says, and fails. */
  const failsAfterA = (commandId?: (event: string) => string) => {
    code = async (store, thingId) => {
      const [event] = await store.getEvents(thingId);
      await store.append(noteOf(thingId), [{ type: 'note.a' }], commandId && { commandId: commandId(event!.id) });
      throw new Error('a mistake');
    };
  };
  const mended = () => {
    code = async (store, thingId) => {
      await append(store, thingId, 'note.b');
      await append(store, thingId, 'note.a');
    };
  };

  it('is replayed with every effect once, in whichever order it has them now', async () => {
    failsAfterA();
    const { position } = await tell();
    expect(await notes()).toEqual(['note.a']);
    mended();
    await replay(position);
    expect(await notes()).toEqual(['note.a', 'note.b']);
  });

  it('is so too if a release failed at it that counted its commands', async () => {
    failsAfterA((event) => deriveId(deriveId(event, 'test.changing'), `${noteOf(thing.id).id}#1`));
    const { position } = await tell();
    code = (store, thingId) => append(store, thingId, 'note.a');
    await kernel.close();
    kernel = await startKernel(db.url, [Changing]);
    await replay(position);
    expect(await notes()).toEqual(['note.a']);
  });

  it('is a dead letter at the first try if it gives the id of one command to another', async () => {
    const commandOf = (thingId: string) => deriveId(thingId, 'the only command');
    code = async (store, thingId) => {
      await store.append(noteOf(thingId), [{ type: 'note.a' }], { commandId: commandOf(thingId) });
      await store.append(noteOf(thingId), [{ type: 'note.b' }], { commandId: commandOf(thingId) });
    };
    const letter = await tell();
    expect(letter).toMatchObject({ state: 'failed', attempts: 1 });
    const note = noteOf(thing.id).id;
    expect(letter.error).toContain(
      `DuplicateCommandError: Command ${commandOf(thing.id)} has been carried out as note.a of ${note}, ` +
        `so it cannot be carried out as note.b of ${note}`,
    );
    expect(await notes()).toEqual(['note.a']);
  });

  it('is a dead letter also if what it throws cannot be read', async () => {
    const get = (): never => {
      throw new Error('not readable');
    };
    const unreadable = new Proxy(new Error('hidden'), { get });
    code = () => Promise.reject(unreadable);
    expect(await tell()).toMatchObject({ state: 'failed', error: '"[unreadable]"', attempts: 3 });
  });
});
