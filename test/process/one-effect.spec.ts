import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '../kernel/support';
import type { Answer, Api } from '../support/api';
import { countOrders, place } from './customers';
import { ReplicaSet } from './replica-set';

/** `ONE_EFFECT_KEYS=1000` for the whole of it. */
const keyCount = Number(process.env['ONE_EFFECT_KEYS'] ?? 60);
const callersPerKey = 20;
const keysAtOnce = 10;

jest.setTimeout(120_000 + keyCount * 1000);

/** Answers that ask to come again, or say that nobody knows. */
const unsettled = new Set([409, 429, 502, 503]);

describe('a key that many callers use at the same time, over two replicas', () => {
  let set: ReplicaSet;
  let admin: Api;
  const refusals = new Map<string, number>();

  beforeAll(async () => {
    set = await ReplicaSet.start(2);
    admin = await set.admin();
    const reason = 'for everybody';
    const tea = '00000000-0000-7000-8000-000000000001';
    await admin.post(`/v1/products/${tea}/stock-adjustments`, { delta: 1_000_000, reason });
  });
  afterAll(() => set.end());

  /** As clients do: again after a second or less, until it is known what became of the order. */
  const call = async (key: string): Promise<Answer> => {
    for (;;) {
      const answer = await place(admin, key);
      if (!(answer instanceof Error) && !unsettled.has(answer.status)) return answer;
      const why = answer instanceof Error ? answer.message : `${answer.status} ${answer.body.code}`;
      refusals.set(why, (refusals.get(why) ?? 0) + 1);
      await delay(200 + Math.random() * 800);
    }
  };

  it('has one effect and one answer, although a replica is killed meanwhile', async () => {
    const keys = Array.from({ length: keyCount }, (_, nth) => `key-${nth}`);
    const different: unknown[] = [];
    const began = performance.now();
    let done = 0;
    const left = [...keys];
    const worker = async () => {
      for (let key = left.shift(); key !== undefined; key = left.shift()) {
        const answers = await Promise.all(Array.from({ length: callersPerKey }, () => call(key)));
        const distinct = new Set(answers.map(({ status, body }) => JSON.stringify([status, body])));
        if (distinct.size > 1 || answers[0]!.status !== 202) different.push({ key, answers: [...distinct] });
        done++;
      }
    };
    const working = Promise.all(Array.from({ length: keysAtOnce }, worker));
    await eventually(() => done > keyCount / 3, 60_000 + keyCount * 1000);
    const killed = set.strike(1, 'SIGKILL');
    await working;
    const seconds = (performance.now() - began) / 1000;
    await set.replaced(1, killed);

    expect(different).toEqual([]);
    expect(await countOrders(admin, keys)).toEqual(keys.map(() => 1));
    expect((await admin.all('/v1/orders')).length).toBe(keyCount);
    if (process.env['ONE_EFFECT_KEYS']) {
      const again = [...refusals].map(([why, count]) => `${count} × ${why}`).join(', ');
      console.log(`${keyCount} keys × ${callersPerKey} callers in ${seconds.toFixed(1)} s; asked again: ${again}`);
    }
  });
});
