import { getEventListeners, getMaxListeners } from 'node:events';
import { isBulkheadRejectedError } from 'cockatiel';
import { Bulkhead, BulkheadFullError } from '../../../src/kernel/resilience/bulkhead';

function given(maxConcurrent: number, maxQueued: number) {
  const bulkhead = new Bulkhead('carrier', maxConcurrent, maxQueued);
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  const call = (id: string, signal?: AbortSignal) => {
    const ended = bulkhead.execute(() => {
      begun.push(id);
      return new Promise<string>((resolve) => ends.set(id, () => resolve(id)));
    }, signal);
    ended.catch(() => undefined);
    return ended;
  };
  const end = async (id: string) => {
    ends.get(id)?.();
    await new Promise(setImmediate);
  };
  return { bulkhead, begun, call, end };
}

describe('A bulkhead', () => {
  it('runs maxConcurrent calls, lets maxQueued wait their turn, and refuses the next by name', async () => {
    const { begun, call, end } = given(2, 2);
    for (const id of ['a', 'b', 'c', 'd']) void call(id);
    const error = await call('e').catch((e: unknown) => e);
    expect(error).toBeInstanceOf(BulkheadFullError);
    expect(error).toMatchObject({ name: 'BulkheadFullError', policy: 'carrier', maxConcurrent: 2, maxQueued: 2 });
    expect(isBulkheadRejectedError(error)).toBe(true);
    expect(begun).toEqual(['a', 'b']);
    await end('b');
    expect(begun).toEqual(['a', 'b', 'c']);
    await end('a');
    expect(begun).toEqual(['a', 'b', 'c', 'd']);
  });

  it('frees the slot of a call that fails', async () => {
    const { bulkhead } = given(1, 0);
    for (let i = 0; i < 3; i++)
      await expect(bulkhead.execute(() => Promise.reject(new Error('down')))).rejects.toThrow('down');
    await expect(bulkhead.execute(() => 'ok')).resolves.toBe('ok');
  });

  it('lets who walks away leave the queue at once, without stranding those behind (cockatiel 3.2.1 does)', async () => {
    const { begun, call, end } = given(1, 2);
    const caller = new AbortController();
    void call('running');
    const gone = call('gone', caller.signal);
    void call('behind');
    caller.abort();
    await expect(gone).rejects.toThrow('cancelled');
    void call('last');
    await end('running');
    await end('behind');
    expect(begun).toEqual(['running', 'behind', 'last']);
  });

  it('takes nobody from the queue when a call is aborted that has begun already', async () => {
    const { begun, call, end } = given(1, 2);
    const caller = new AbortController();
    void call('running');
    void call('aborted later', caller.signal);
    void call('behind');
    await end('running');
    caller.abort();
    await end('aborted later');
    expect(begun).toEqual(['running', 'aborted later', 'behind']);
  });

  it('lets any number wait with one signal, and leaves no listener on it', async () => {
    const { bulkhead, call, end } = given(1, 100);
    const { signal } = new AbortController();
    void call('running');
    const waiting = Array.from({ length: 50 }, () => bulkhead.execute(() => 'ok', signal));
    expect(getMaxListeners(signal)).toBe(Infinity);
    expect(getEventListeners(signal, 'abort')).toHaveLength(50);
    await end('running');
    await Promise.all(waiting);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('hands a slot to the first in the queue, not to a newcomer', async () => {
    const { begun, call, end } = given(1, 1);
    void call('running').then(() => call('newcomer'));
    void call('first');
    await end('running');
    await end('first');
    expect(begun).toEqual(['running', 'first', 'newcomer']);
  });

  it('keeps its count through many calls', async () => {
    const { bulkhead } = given(3, 1_000);
    let inside = 0;
    let most = 0;
    const one = async (i: number) => {
      most = Math.max(most, ++inside);
      await new Promise(setImmediate);
      inside--;
      if (i % 3 === 0) throw new Error('down');
    };
    await Promise.allSettled(Array.from({ length: 500 }, (_, i) => bulkhead.execute(() => one(i))));
    expect({ inside, most }).toEqual({ inside: 0, most: 3 });
  });

  it.each([
    [0, 1],
    [1.5, 1],
    [1, -1],
  ])('refuses to be built for %d calls and %d waiting', (maxConcurrent, maxQueued) => {
    expect(() => new Bulkhead('x', maxConcurrent, maxQueued)).toThrow(RangeError);
  });
});
