import { run } from './scenario';

describe('a process that is stopped with work in hand, for longer than its lease', () => {
  it('is replaced, and does no harm when it wakes up: nothing is missing, doubled or out of order', async () => {
    expect(await run()).toMatchObject({ violations: [] });
  }, 90_000);
});
