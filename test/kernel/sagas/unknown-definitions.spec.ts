import type { Client } from 'pg';
import { newId } from '../../../src/kernel/ids';
import { saga } from '../../../src/kernel/sagas/saga';
import { SagaInstances } from '../../../src/kernel/sagas/saga-instances';
import { createDatabase, type TestDatabase } from '../../support/database';
import { connect, eventually, forgetEverything, type Kernel, startKernel } from '../support';
import { DoIt, trip, type Trip, visit, world } from './travel';

/** More than a round of timers takes, and nearly as many as a subscription has in hand. */
const many = 120;

describe('sagas whose definition this process does not know', () => {
  let db: TestDatabase;
  let tester: Client;
  let kernel: Kernel;
  const flight = saga<Trip>('flight', { version: 9 })
    .step('book', { ...trip.steps[0]!, attempts: 1 })
    .step('fly', { ...trip.steps[2]!, attempts: 1 });

  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
  });
  beforeEach(async () => {
    await forgetEverything(tester);
    world.calls = [];
    world.before = () => undefined;
    world.answer = (name) => `${name} done`;
    kernel = await start();
  });
  afterEach(() => kernel.close());
  afterAll(async () => {
    await tester.end();
    await db.drop();
  });

  const start = async () => {
    const started = await startKernel(db.url, [DoIt]);
    started.sagas.register(trip);
    started.sagas.register(visit);
    return started;
  };
  const begin = (count: number) =>
    Promise.all(Array.from({ length: count }, () => kernel.sagas.start(flight, newId(), { to: 'Oslo' })));
  const unknown = (limit = many) =>
    kernel.get(SagaInstances).list({ runnable: { is: false, known: kernel.sagas.known }, limit });
  const resting = async (count: number) =>
    eventually(async () => {
      const sagas = await unknown();
      return sagas.filter(({ error, dueAt }) => error?.code === 'definition-unknown' && dueAt).length === count;
    });
  const letters = () => kernel.deadLetters.list({}, 10);
  /** As if they had rested for long. */
  const letTimePass = () =>
    tester.query(`update sagas.instances set due_at = now() - interval '1 h' where due_at is not null`);

  it('rest, are seen, and become no dead letters', async () => {
    await begin(many);
    await resting(many);
    await kernel.subscriptions.idle();
    expect(await letters()).toEqual([]);
    expect(world.calls).toEqual([]);
    const [one] = await unknown(1);
    expect(one).toMatchObject({
      definition: 'flight',
      definitionVersion: 9,
      status: 'running',
      step: 'book',
      attempt: 1,
    });
    const known = await kernel.get(SagaInstances).list({ runnable: { is: true, known: kernel.sagas.known }, limit: 1 });
    expect(known).toEqual([]);
    expect(await kernel.get(SagaInstances).openByDefinition()).toEqual([
      { definition: 'flight', version: 9, count: many },
    ]);
  });

  it('do not stand in line before others: their steps, tries and deadlines come in time', async () => {
    await begin(many);
    await resting(many);
    await letTimePass();
    const [tried, asked] = [newId(), newId()];
    let failures = 1;
    world.answer = (name) => {
      if (name === 'pay' && failures-- > 0) throw new Error('no answer');
      return `${name} done`;
    };
    await kernel.sagas.start(visit, asked, { to: 'Rome' });
    await kernel.sagas.start(trip, tried, { to: 'Rome' });
    expect(await kernel.sagas.outcome(trip, tried, 10_000)).toMatchObject({ pay: 'pay done' });
    await expect(kernel.sagas.outcome(visit, asked, 10_000)).rejects.toMatchObject({
      step: 'ask',
      cause: { code: 'step-timeout' },
    });
  });

  it('go on when a process knows it, without having lost a try', async () => {
    await begin(3);
    await resting(3);
    kernel.sagas.register(flight);
    await letTimePass();
    await eventually(async () => {
      const sagas = await kernel.get(SagaInstances).list({ status: ['completed'], limit: 10 });
      return sagas.length === 3;
    });
    expect(await unknown()).toEqual([]);
    expect(world.calls.map(({ name }) => name).sort()).toEqual(['book', 'book', 'book', 'pay', 'pay', 'pay']);
  });

  it('are taken back by a process that knows it, from where they were', async () => {
    kernel.sagas.register(flight);
    world.answer = (name) => {
      if (name !== 'undo book') return `${name} done`;
      throw Object.assign(new Error('open circuit'), { retryAfterMs: 60_000 });
    };
    const subject = newId();
    await kernel.sagas.start(flight, subject, { to: 'Oslo' });
    await kernel.sagas.outcome(flight, subject, 10_000);
    await kernel.sagas.cancel(flight, subject, 'changed my mind');
    const instance = async () => kernel.get(SagaInstances).find(kernel.sagas.idOf(flight, subject));
    await eventually(async () => (await instance())?.error?.code === 'unavailable');
    await kernel.close();
    world.answer = (name) => `${name} done`;
    kernel = await start();
    // another process woke it
    const event = {
      type: 'saga.compensation-started',
      saga: 'flight',
      subject,
      step: 'book',
      attempt: 2,
      remaining: ['book'],
    };
    await kernel.store.append({ type: 'saga', id: kernel.sagas.idOf(flight, subject) }, [event]);
    await resting(1);
    expect(await letters()).toEqual([]);
    kernel.sagas.register(flight);
    await letTimePass();
    await eventually(async () => (await instance())?.status === 'compensated');
  });

  it('ask for patience of whoever wants something of them', async () => {
    const subject = newId();
    await kernel.sagas.start(flight, subject, { to: 'Oslo' });
    await expect(kernel.sagas.cancel(flight, subject, 'changed my mind')).rejects.toMatchObject({
      name: 'UnknownDefinitionError',
      retryAfterMs: expect.any(Number),
    });
  });
});

describe('a saga whose timer cannot be read', () => {
  let db: TestDatabase;
  let kernel: Kernel;

  beforeAll(async () => {
    db = await createDatabase();
    kernel = await startKernel(db.url, [DoIt]);
    kernel.sagas.register(visit);
    world.before = () => undefined;
    world.answer = (name) => `${name} done`;
  });
  afterAll(async () => {
    await kernel.close();
    await db.drop();
  });

  it.each([
    ['fails each time', () => Promise.reject(new Error('unreadable'))],
    ['gets no answer', () => new Promise<never>(() => undefined)],
  ])('holds up no other if it %s', async (_, answer) => {
    const [bad, good] = [newId(), newId()];
    const { decide } = kernel.sagas;
    let tries = 0;
    jest.spyOn(kernel.sagas, 'decide').mockImplementation((id, command, options) => {
      if (command.type !== 'due' || id !== kernel.sagas.idOf(visit, bad))
        return decide.call(kernel.sagas, id, command, options);
      tries++;
      return answer();
    });
    await kernel.sagas.start(visit, bad, { to: 'Rome' });
    await eventually(() => tries > 0);
    await kernel.sagas.start(visit, good, { to: 'Rome' });
    await expect(kernel.sagas.outcome(visit, good, 10_000)).rejects.toMatchObject({ cause: { code: 'step-timeout' } });
    // ever more rarely, or not at all while the first is under way
    expect(tries).toBeLessThan(5);
    jest.restoreAllMocks();
  });
});
