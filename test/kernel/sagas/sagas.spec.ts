import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Client } from 'pg';
import { DomainError } from '../../../src/kernel/domain-error';
import { newId } from '../../../src/kernel/ids';
import { saga, SagaExecutionError } from '../../../src/kernel/sagas/saga';
import { SagaInstances, type SagaStatus } from '../../../src/kernel/sagas/saga-instances';
import { createDatabase, type TestDatabase } from '../../support/database';
import { connect, eventually, gate, type Kernel, openGates, startKernel } from '../support';
import { DoIt, effectOf, trip, type Trip, visit, world } from './travel';

const refusal = new DomainError('conflict', 'declined', 'The card was declined.');

describe('a saga', () => {
  let db: TestDatabase;
  let tester: Client;
  let kernel: Kernel;
  let subject: string;

  const start = async (): Promise<Kernel> => {
    const started = await startKernel(db.url, [DoIt]);
    started.sagas.register(trip);
    started.sagas.register(visit);
    return started;
  };
  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
    kernel = await start();
  });
  beforeEach(() => {
    subject = newId();
    world.calls = [];
    world.before = () => undefined;
    world.answer = (name) => `${name} done`;
  });
  afterEach(openGates);
  afterAll(async () => {
    await kernel.close();
    await tester.end();
    await db.drop();
  });

  const idOf = (definition = trip) => kernel.sagas.idOf(definition, subject);
  const begin = (definition = trip) => kernel.sagas.start(definition, subject, { to: 'Rome' });
  const outcome = (definition = trip) => kernel.sagas.outcome(definition, subject, 10_000);
  const names = () => world.calls.map(({ name }) => name);
  const story = async (definition = trip) =>
    (await kernel.store.getEvents(idOf(definition))).map(({ eventType, payload }) =>
      [eventType.slice(5), payload['step']].filter(Boolean).join(' '),
    );
  const effects = async (step: string, definition = trip) =>
    (await kernel.store.getEvents(effectOf(`${idOf(definition)}/${step}`).id)).map(({ eventType }) =>
      eventType.slice(7),
    );
  const find = async (definition = trip) => (await kernel.get(SagaInstances).find(idOf(definition)))!;
  const reaches = (status: SagaStatus, definition = trip) =>
    eventually(async () => (await kernel.get(SagaInstances).find(idOf(definition)))?.status === status);
  const failing = (failures: Record<string, unknown[]>) => (name: string) => {
    const error = failures[name]?.shift();
    if (error) throw error;
    return `${name} done`;
  };

  it('takes its steps in order, each with its own key and the outputs of those before it', async () => {
    await begin();
    expect(await outcome()).toEqual({ book: 'book done', look: 'look done', pay: 'pay done' });
    expect(names()).toEqual(['book', 'look', 'pay']);
    expect(world.calls.map(({ context }) => context.key)).toEqual(
      ['book', 'look', 'pay'].map((name) => `${idOf()}/${name}`),
    );
    expect(world.calls[2]!.context.outputs).toEqual({ book: 'book done', look: 'look done' });
    expect(await story()).toEqual([
      'started',
      'step-started book',
      'step-completed book',
      'step-started look',
      'step-completed look',
      'step-started pay',
      'step-completed pay',
      'completed',
    ]);
    await reaches('completed');
    expect(await find()).toMatchObject({ definition: 'trip', subject, step: null, error: null, dueAt: null });
  });

  it('is one a subject, however often it is started', async () => {
    await Promise.all([begin(), begin(), begin()]);
    await outcome();
    await begin();
    await kernel.subscriptions.idle();
    expect(names()).toEqual(['book', 'look', 'pay']);
  });

  it('that is refused takes back what was done in reverse, and tells which step it was', async () => {
    world.answer = failing({ pay: [refusal] });
    await begin();
    const failure = (await outcome().catch((error: unknown) => error)) as SagaExecutionError;
    expect(failure).toBeInstanceOf(SagaExecutionError);
    expect(failure).toMatchObject({ step: 'pay', cause: { code: 'declined', message: refusal.message } });
    // nothing to take back of `look`, and `pay` did not happen
    expect(names()).toEqual(['book', 'look', 'pay', 'undo book']);
    await reaches('compensated');
    expect(await find()).toMatchObject({ step: 'pay', error: { code: 'declined' } });
    // whoever asks later is told the same
    await expect(outcome()).rejects.toThrow(SagaExecutionError);
  });

  it('tries again with the same key what may pass, and has the effect once', async () => {
    world.answer = failing({ pay: [new Error('timed out after charging')] });
    await begin();
    expect(await outcome()).toMatchObject({ pay: 'pay done' });
    expect(names()).toEqual(['book', 'look', 'pay', 'pay']);
    expect(new Set(world.calls.slice(2).map(({ context }) => context.key)).size).toBe(1);
    expect(await effects('pay')).toEqual(['pay']);
    expect((await story()).slice(5, 8)).toEqual(['step-started pay', 'step-failed pay', 'step-started pay']);
  });

  it('out of tries takes the step itself back as well: it may have happened', async () => {
    world.answer = failing({ pay: [new Error('no answer'), new Error('no answer')] });
    await begin();
    await expect(outcome()).rejects.toMatchObject({ step: 'pay', cause: { code: 'technical-failure' } });
    expect(names()).toEqual(['book', 'look', 'pay', 'pay', 'undo pay', 'undo book']);
    expect(await effects('pay')).toEqual(['pay', 'undo-pay']);
    expect(await effects('book')).toEqual(['book', 'undo-book']);
  });

  it('refused after an unclear try takes the step itself back as well: the first may have happened', async () => {
    world.answer = failing({ pay: [new Error('no answer'), new DomainError('conflict', 'refused', 'No.')] });
    await begin();
    await expect(outcome()).rejects.toMatchObject({ step: 'pay', cause: { code: 'refused' } });
    expect(names()).toEqual(['book', 'look', 'pay', 'pay', 'undo pay', 'undo book']);
  });

  it('waits out an open circuit without losing a try', async () => {
    const open = () => Object.assign(new Error('open circuit'), { retryAfterMs: 1 });
    world.answer = failing({ pay: [open(), open(), open(), new Error('no answer')] });
    await begin();
    expect(await outcome()).toMatchObject({ pay: 'pay done' });
    expect(names().filter((name) => name === 'pay')).toHaveLength(5);
    expect(await effects('pay')).toEqual(['pay']);
  });

  it('gives up a step whose target asks for patience for longer than the step may take', async () => {
    const hasty = saga<Trip>('hasty', { version: 1 })
      .step('book', trip.steps[0]!)
      .step('pay', { ...trip.steps[2]!, timeoutMs: 1000 });
    kernel.sagas.register(hasty);
    world.answer = (name) => {
      if (name === 'pay') throw Object.assign(new Error('open circuit'), { retryAfterMs: 1 });
      return `${name} done`;
    };
    await begin(hasty);
    await expect(outcome(hasty)).rejects.toMatchObject({ step: 'pay', cause: { code: 'unavailable' } });
    expect(names().filter((name) => name === 'pay').length).toBeGreaterThan(2);
    expect(names().slice(-2)).toEqual(['undo pay', 'undo book']);
  });

  it('records of an error that is no refusal only a code and a neutral text', async () => {
    const errors = [
      new Error('connect ECONNREFUSED carrier-7.internal:8443'),
      Object.assign(new Error('Circuit breaker "carrier" is open'), { retryAfterMs: 1 }),
      Object.assign(new Error('"carrier" gave no answer'), { name: 'CallTimeoutError' }),
    ];
    world.answer = failing({ pay: errors });
    await begin();
    await expect(outcome()).rejects.toMatchObject({ step: 'pay', cause: { code: 'timeout' } });
    const failures = (await kernel.store.getEvents(idOf())).filter(({ eventType }) => eventType === 'saga.step-failed');
    expect(failures.map(({ payload }) => payload['error'])).toEqual([
      { code: 'technical-failure', message: 'A technical problem prevented this.' },
      { code: 'unavailable', message: 'A service that this needs is not available.' },
      { code: 'timeout', message: 'No answer came in time.' },
    ]);
    expect(await find()).toMatchObject({ error: { code: 'timeout', message: 'No answer came in time.' } });
  });

  describe('with a step that is answered later', () => {
    it('goes on when the answer comes', async () => {
      await begin(visit);
      await eventually(() => names().includes('ask'));
      await kernel.sagas.completeStep(visit, subject, 'ask', 'yes');
      expect(await outcome(visit)).toEqual({ book: 'book done', ask: 'yes', pay: 'pay done' });
      await kernel.sagas.completeStep(visit, subject, 'ask', 'yes, again');
      expect((await story(visit)).filter((line) => line === 'step-completed ask')).toHaveLength(1);
    });

    it('takes back what was done when the answer is no', async () => {
      await begin(visit);
      await eventually(() => names().includes('ask'));
      await kernel.sagas.failStep(visit, subject, 'ask', { code: 'full', message: 'No room.' });
      await expect(outcome(visit)).rejects.toMatchObject({ step: 'ask', cause: { code: 'full' } });
      expect(names()).toEqual(['book', 'ask', 'undo book']);
    });

    it('takes the step itself back too when no answer comes in time', async () => {
      await begin(visit);
      await expect(outcome(visit)).rejects.toMatchObject({ step: 'ask', cause: { code: 'step-timeout' } });
      expect(names()).toEqual(['book', 'ask', 'undo ask', 'undo book']);
      // what comes too late changes nothing
      await kernel.sagas.completeStep(visit, subject, 'ask', 'yes');
      expect((await story(visit)).at(-1)).toBe('compensated ask');
    });
  });

  describe('cancelled', () => {
    it('on its way takes back the step under way as well', async () => {
      const { opened, open } = gate();
      world.before = (name) => (name === 'look' ? opened : undefined);
      await begin();
      await eventually(() => names().includes('look'));
      await kernel.sagas.cancel(trip, subject, 'changed my mind');
      open();
      await expect(outcome()).rejects.toMatchObject({ cause: { code: 'cancelled', message: 'changed my mind' } });
      expect(names()).toEqual(['book', 'look', 'undo book']);
    });

    it('when completed takes everything back', async () => {
      await begin();
      await outcome();
      await kernel.sagas.cancel(trip, subject, 'sent back');
      await reaches('compensated');
      expect(names().slice(3)).toEqual(['undo pay', 'undo book']);
      await kernel.sagas.cancel(trip, subject, 'sent back');
      expect((await story()).filter((line) => line.startsWith('compensated'))).toHaveLength(1);
    });
  });

  describe('that cannot take a step back', () => {
    const declines = (undos: unknown[]) => {
      world.answer = failing({ pay: [refusal], 'undo book': undos });
    };

    it('tries again when that may help', async () => {
      declines([new Error('no answer'), new Error('no answer')]);
      await begin();
      await expect(outcome()).rejects.toThrow(SagaExecutionError);
      expect(names().slice(3)).toEqual(['undo book', 'undo book', 'undo book']);
      expect(await effects('book')).toEqual(['book', 'undo-book']);
    });

    it.each([
      ['retry', ['undo book', 'undo book']],
      ['skip', ['undo book']],
    ] as const)('is parked at a refusal, until an operator says %s', async (resolution, undone) => {
      declines([refusal]);
      await begin();
      await reaches('parked');
      expect(await find()).toMatchObject({ step: 'book', error: { code: 'declined' } });
      expect(await kernel.get(SagaInstances).list({ status: ['parked'], limit: 10 })).toMatchObject([{ id: idOf() }]);
      expect(await kernel.sagas.outcome(trip, subject, 20)).toBeUndefined();
      await kernel.sagas.resolve(idOf(), resolution, 'user:1', 'called them');
      await expect(outcome()).rejects.toMatchObject({ step: 'pay' });
      expect(names().slice(3)).toEqual(undone);
      const record = (await kernel.store.getEvents(idOf())).find(({ eventType }) => eventType === 'saga.resolved');
      expect(record!.payload).toMatchObject({ step: 'book', resolution, by: 'user:1', reason: 'called them' });
    });
  });

  describe('goes on after its process ended', () => {
    it('by closing: in the next one, from where it was', async () => {
      const { opened, open } = gate();
      world.before = (name) => (name === 'pay' ? opened : undefined);
      await begin();
      await eventually(() => names().includes('pay'));
      const waiting = kernel.sagas.outcome(trip, subject, 50);
      const closing = kernel.close();
      // what is in hand is finished, and its result kept
      open();
      await Promise.all([closing, waiting]);
      kernel = await start();
      expect(await outcome()).toMatchObject({ pay: 'pay done' });
      expect(names()).toEqual(['book', 'look', 'pay']);
    });

    it('by kill -9 in the middle of a step: in another, at once, with every effect once', async () => {
      await kernel.close();
      const child = spawn(process.execPath, [join(__dirname, '../fixtures/kernel-child.js'), db.url, subject], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let said = '';
      child.stdout.on('data', (text: Buffer) => (said += text.toString()));
      try {
        // it owns all subscriptions, has had the effect of `pay`, and has not recorded it
        await eventually(() => said.includes('paid') || child.exitCode !== null, 15_000);
        kernel = await start();
        await kernel.store.append({ type: 'other', id: newId() }, [{ type: 'other.happened' }]);
        expect(names()).toEqual([]);
        child.kill('SIGKILL');
        const killedAt = performance.now();
        expect(await outcome()).toEqual({ book: 'book done', look: 'look done', pay: 'pay done' });
        // far sooner than its lease ran out
        expect(performance.now() - killedAt).toBeLessThan(5000);
      } finally {
        child.kill('SIGKILL');
      }
      expect(names()).toContain('pay');
      for (const name of ['book', 'look', 'pay']) expect(await effects(name)).toEqual([name]);
      expect((await story()).filter((line) => line === 'step-completed pay')).toHaveLength(1);
    });
  });
});
