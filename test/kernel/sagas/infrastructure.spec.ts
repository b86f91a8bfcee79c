import type { Client } from 'pg';
import { Database } from '../../../src/kernel/database/database';
import { DomainError } from '../../../src/kernel/domain-error';
import { newId } from '../../../src/kernel/ids';
import { saga } from '../../../src/kernel/sagas/saga';
import { createDatabase, type TestDatabase } from '../../support/database';
import { connect, eventually, gate, type Kernel, kill, openGates, startKernel } from '../support';
import { DoIt, trip, type Trip, visit, world } from './travel';

/** Its answer is waited for longer than a test takes to bring it, and not much longer. */
const inquiry = saga<Trip>('inquiry', { version: 1 })
  .step('book', trip.steps[0]!)
  .step('ask', { ...visit.steps[1]!, timeoutMs: 1500 });
const question = saga<Trip>('question', { version: 1 }).step('ask', inquiry.steps[1]!);
/** Its commands may take a fifth of a second. */
const hasty = saga<Trip>('hasty', { version: 1 })
  .step('book', trip.steps[0]!)
  .step('pay', { ...trip.steps[2]!, timeoutMs: 200, attempts: 2 });

describe('a saga', () => {
  let db: TestDatabase;
  let tester: Client;
  let kernel: Kernel;
  let subject: string;

  const start = async () => {
    const started = await startKernel(db.url, [DoIt]);
    for (const definition of [trip, inquiry, question, hasty]) started.sagas.register(definition);
    return started;
  };
  beforeAll(async () => {
    db = await createDatabase();
    tester = await connect(db.url);
    await tester.query('create schema shop; create table shop.counters (value integer)');
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

  const begin = (definition = trip) => kernel.sagas.start(definition, subject, { to: 'Rome' });
  const outcome = (definition = trip) => kernel.sagas.outcome(definition, subject, 15_000);
  const calls = (step: string) => world.calls.filter(({ name }) => name === step).length;
  const story = async (definition = trip) =>
    (await kernel.store.getEvents(kernel.sagas.idOf(definition, subject))).map(({ eventType }) => eventType.slice(5));
  const letters = () => kernel.deadLetters.list({}, 10);
  const overdue = (ms: number) =>
    eventually(async () => {
      const { rowCount } = await tester.query(
        `select from sagas.instances where subject = $1 and due_at < clock_timestamp() - make_interval(secs => $2)`,
        [subject, ms / 1000],
      );
      return rowCount === 1;
    });
  /** The step's command needs a table that somebody else has locked, until `unlock`. */
  const lockFor = async (step: string) => {
    world.before = (name) =>
      name !== step
        ? undefined
        : kernel.get(Database).relaxedTransaction(async (client) => {
            await client.query(`set local lock_timeout = '20ms'`);
            await client.query('select from shop.counters');
          });
    await tester.query('begin; lock table shop.counters in access exclusive mode');
    return () => tester.query('rollback');
  };

  describe('is not decided by', () => {
    it.each([
      ['a step', 'pay'],
      ['a compensation', 'undo pay'],
    ])('a table that stays locked: %s waits, without a try or an event', async (_, step) => {
      const unlock = await lockFor(step);
      // far more tries than it has
      if (step !== 'pay') {
        await begin();
        await outcome();
        await kernel.sagas.cancel(trip, subject, 'sent back');
      } else await begin();
      await eventually(() => calls(step) > 15);
      const waiting = await story();
      await unlock();
      if (step === 'pay') expect(await outcome()).toMatchObject({ pay: 'pay done' });
      else await eventually(async () => (await story()).at(-1) === 'compensated');
      expect(waiting.at(-1)).toBe(step === 'pay' ? 'step-started' : 'compensation-started');
      expect((await story()).filter((type) => type.endsWith('-failed'))).toEqual([]);
      expect(await letters()).toEqual([]);
    });

    it('a server that takes no more connections', async () => {
      const name = new URL(db.url).pathname.slice(1);
      const { opened, open } = gate();
      world.before = (step) => (step === 'look' ? opened : undefined);
      await begin();
      await eventually(() => calls('look') > 0);
      // a superuser, such as the tester, is let in all the same
      await tester.query(`alter database ${name} connection limit 0`);
      try {
        await kill(tester, 'orderloom/log');
        open();
        await eventually(() => calls('look') > 15, 20_000);
      } finally {
        await tester.query(`alter database ${name} connection limit -1`);
      }
      expect(await outcome()).toMatchObject({ pay: 'pay done' });
      expect((await story()).filter((type) => type.endsWith('-failed'))).toEqual([]);
      expect(await letters()).toEqual([]);
    });
  });

  describe('whose time for an answer ran out', () => {
    it('while its command could not be sent, has the time from then on', async () => {
      const unlock = await lockFor('ask');
      await begin(inquiry);
      await overdue(500);
      expect(await story(inquiry)).not.toContain('step-failed');
      await unlock();
      // sent once more to begin to wait anew
      await eventually(async () => (await story(inquiry)).filter((type) => type === 'step-started').length === 3);
      await kernel.sagas.completeStep(inquiry, subject, 'ask', 'yes');
      expect(await outcome(inquiry)).toEqual({ book: 'book done', ask: 'yes' });
    });

    it('while its subscription was paused, has the time from then on', async () => {
      await kernel.subscriptions.pause('sagas.run', 'user:1');
      try {
        await eventually(() => !kernel.subscriptions.work().find(({ name }) => name === 'sagas.run')!.owned);
        await begin(question);
        await overdue(500);
      } finally {
        await kernel.subscriptions.resume('sagas.run', 'user:1');
      }
      await eventually(() => calls('ask') > 0);
      await kernel.sagas.completeStep(question, subject, 'ask', 'yes');
      expect(await outcome(question)).toEqual({ ask: 'yes' });
    });

    it('while no process ran, is asked again instead of being taken back', async () => {
      await begin(inquiry);
      await eventually(() => calls('ask') > 0);
      await kernel.subscriptions.idle();
      await kernel.close();
      await overdue(500);
      kernel = await start();
      await eventually(() => calls('ask') > 1);
      await kernel.sagas.completeStep(inquiry, subject, 'ask', 'yes');
      expect(await outcome(inquiry)).toEqual({ book: 'book done', ask: 'yes' });
    });

    it('while it could have been answered, is taken back', async () => {
      await begin(inquiry);
      await expect(outcome(inquiry)).rejects.toMatchObject({ step: 'ask', cause: { code: 'step-timeout' } });
    });
  });

  describe('with a command that never comes to an end', () => {
    it('tries again, is taken back in the end, and holds up no other', async () => {
      const isHasty = (key: string) => key.startsWith(kernel.sagas.idOf(hasty, subject));
      const never = new Promise(() => undefined);
      world.before = (name) => (name === 'pay' && isHasty(world.calls.at(-1)!.context.key) ? never : undefined);
      await begin(hasty);
      await eventually(() => calls('pay') > 0);
      const other = newId();
      await kernel.sagas.start(trip, other, { to: 'Rome' });
      expect(await kernel.sagas.outcome(trip, other, 10_000)).toMatchObject({ pay: 'pay done' });
      await expect(outcome(hasty)).rejects.toMatchObject({ step: 'pay', cause: { code: 'timeout' } });
      const tried = world.calls.filter(({ context }) => isHasty(context.key));
      // it may have happened, so it is taken back as well
      expect(tried.map(({ name }) => name)).toEqual(['book', 'pay', 'pay', 'undo pay', 'undo book']);
      expect(await letters()).toEqual([]);
    });
  });

  describe('goes on whatever a step', () => {
    const circle: unknown[] = [];
    circle.push(circle);
    it.each([
      ['a bigint', 12n, '12'],
      ['NaN and a date', [NaN, new Date(0)], ['NaN', '1970-01-01T00:00:00.000Z']],
      ['a set and a map', [new Set([1]), new Map([['a', 1]])], [[1], [['a', 1]]]],
      ['a circle', circle, ['[circular]']],
      ['text that cannot be stored', { 'a\u0000': '\ud800' }, { 'a\ufffd': '\ufffd' }],
      ['a function', () => 1, null],
    ])('returns: %s', async (_, returned, stored) => {
      world.answer = () => returned;
      await begin();
      expect(await outcome()).toEqual({ book: stored, look: stored, pay: stored });
    });

    it.each([
      ['undefined', () => undefined, { code: 'technical-failure' }],
      ['null', () => null, { code: 'technical-failure' }],
      [
        'a refusal in text that cannot be stored',
        () => new DomainError('conflict', 'no', 'no\u0000 \ud800'),
        { code: 'no', message: 'no\ufffd \ufffd' },
      ],
      ['an error that cannot be read', unreadable, { code: 'technical-failure' }],
    ])('throws: %s', async (_, thrown, cause) => {
      world.answer = (name) => {
        if (name === 'pay') throw thrown();
      };
      await begin();
      await expect(outcome()).rejects.toMatchObject({ step: 'pay', cause });
      expect(await letters()).toEqual([]);
    });

    it('is told by whoever answers it', async () => {
      await begin(inquiry);
      await eventually(() => calls('ask') > 0);
      await kernel.sagas.failStep(inquiry, subject, 'ask', { code: 'full', message: 'No room\u0000.' });
      await expect(outcome(inquiry)).rejects.toMatchObject({ cause: { code: 'full', message: 'No room\ufffd.' } });
    });
  });
});

function unreadable(): Error {
  const get = (): never => {
    throw new Error('not readable');
  };
  return new Proxy(new Error('hidden'), { get });
}
