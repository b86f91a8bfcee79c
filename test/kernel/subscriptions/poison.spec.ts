import type { Client } from 'pg';
import { EventType } from '../../../src/kernel/event-store/event-type';
import { upcast } from '../../../src/kernel/event-store/upcasting';
import { Reaction } from '../../../src/kernel/subscriptions/reaction';
import type { RetryOptions } from '../../../src/kernel/subscriptions/runner';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, connect, eventually, forgetEverything, happened, type Kernel, startKernel } from '../support';
import { Applied, applied, appliedTable } from './applied';

@EventType('thing.happened')
class Happened {
  readonly n!: number;
}

@EventType('thing.moved')
class Moved {
  readonly n!: number;
}

class Recorder {
  readonly handled: number[] = [];
  begun = 0;
  on: (n: number) => unknown = () => undefined;

  async handle({ n }: Happened): Promise<void> {
    this.begun++;
    await this.on(n);
    this.handled.push(n);
  }
}

@Reaction({ name: 'test.heard' }, Happened)
class Heard extends Recorder {}

@Reaction({ name: 'test.moves', partitionBy: 'n' }, Moved)
class Moves extends Recorder {}

const never = new Promise<void>(() => undefined);

upcast('thing.moved', (payload) => {
  if (payload['n'] === 13) throw new Error('nobody can read this one');
  return { ...payload };
});

describe('an event that cannot be handled', () => {
  let db: TestDatabase;
  let tester: Client;
  const kernels: Kernel[] = [];

  const start = async (retry: Partial<RetryOptions> = {}): Promise<Kernel> => {
    const started = await startKernel(db.url, [Heard, Moves, Applied], retry);
    kernels.push(started);
    return started;
  };
  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
    await tester.query(appliedTable);
  });
  beforeEach(async () => {
    await forgetEverything(tester);
    await tester.query('truncate test_view.applied');
  });
  afterEach(() => Promise.all(kernels.splice(0).map((each) => each.close())));
  afterAll(async () => {
    await tester.end();
    await db.drop();
  });

  const deadLetters = async (kernel: Kernel) => {
    const letters = await kernel.deadLetters.list({ state: ['failed'] }, 1000);
    return letters.map(({ subscription, error }) => [subscription, error?.split('\n')[0]]);
  };

  it.each([[undefined], [null], ['a text'], [Object.create(null)]])(
    'because of %p, which its handler throws, is a dead letter; others are handled once',
    async (thrown: unknown) => {
      const kernel = await start();
      const heard = kernel.get(Heard);
      heard.on = (n) => {
        if (n === 2) throw thrown;
      };
      for (const n of [1, 2, 3]) await kernel.store.append(aThing(), [happened(n)]);
      await kernel.subscriptions.idle();
      expect(heard.handled.toSorted()).toEqual([1, 3]);
      expect(await deadLetters(kernel)).toHaveLength(1);
      expect(heard.begun).toBe(2 + 3);
    },
  );

  it('because its handler never settles is a dead letter, also when there are more than are handled at once', async () => {
    const kernel = await start({ deliveryMs: 50 });
    const heard = kernel.get(Heard);
    heard.on = (n) => (n > 0 ? never : undefined);
    for (let n = 1; n <= 150; n++) await kernel.store.append(aThing(), [happened(n)]);
    await kernel.store.append(aThing(), [happened(0)]);
    await kernel.subscriptions.idle();
    expect(heard.handled).toEqual([0]);
    const letters = await deadLetters(kernel);
    expect(letters).toHaveLength(150);
    expect(letters[0]).toEqual([
      'test.heard',
      expect.stringMatching(/^TimeLimitError: test.heard with thing.happened at \d+ did not end within 0.05 s$/),
    ]);
  });

  it('because its handler never settles keeps no lease at shutdown: another process goes on at once', async () => {
    const first = await start({ deliveryMs: 10_000 });
    first.get(Heard).on = () => never;
    await first.store.append(aThing(), [happened(1)]);
    await eventually(() => first.get(Heard).begun === 1);
    const began = performance.now();
    const closed = first.close();
    const second = await start();
    await eventually(() => second.get(Heard).handled.length === 1);
    expect(performance.now() - began).toBeLessThan(9000);
    await closed;
  });

  it('because nothing can decode it is a dead letter of those that want it, and of nobody else', async () => {
    const kernel = await start();
    const write = (n: number, schema: number) =>
      tester.query(
        `select event_store.append(array[gen_random_uuid()], array['thing'], array[null::int], array[1],
           array[gen_random_uuid()], array['thing.moved'], array[$1::smallint], array[jsonb_build_object('n', $2::int)],
           array['{"correlationId": "c", "actor": "system", "commandId": "c"}'::jsonb])`,
        [schema, n],
      );
    await write(13, 1);
    await write(14, 1);
    await kernel.store.append(aThing(), [happened(1)]);
    await kernel.subscriptions.idle();
    expect(kernel.get(Heard).handled).toEqual([1]);
    expect(kernel.get(Moves).handled).toEqual([14]);
    expect(await applied(tester)).toEqual([{ position: 3, n: 1 }]);
    expect(await deadLetters(kernel)).toEqual([['test.moves', 'Error: nobody can read this one']]);
    const status = (await kernel.subscriptions.status()).map(({ name, lag }) => [name, lag]);
    expect(status).toEqual(expect.arrayContaining([['test.heard', 0], ['test.applied', 0]])); // prettier-ignore
  });

  it('because it was written by a newer program waits for that, and is no dead letter', async () => {
    const kernel = await start();
    await tester.query(
      `select event_store.append(array[gen_random_uuid()], array['thing'], array[null::int], array[1],
         array[gen_random_uuid()], array['thing.moved'], array[7::smallint], array['{"n": 1}'::jsonb],
         array['{"correlationId": "c", "actor": "system", "commandId": "c"}'::jsonb])`,
    );
    await eventually(async () =>
      (await kernel.subscriptions.status()).some(({ name, waiting }) => name === 'test.moves' && waiting === 1),
    );
    expect(await deadLetters(kernel)).toEqual([]);
    await tester.query(`alter table event_store.events disable trigger user`);
    await tester.query(`update event_store.events set schema_version = 2`);
    await tester.query(`alter table event_store.events enable trigger user`);
  });
});
