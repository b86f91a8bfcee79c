import { run } from './scenario';

describe('the store under load', () => {
  it('loses, doubles and disorders nothing while sessions die and foreign transactions stay open', async () => {
    const outcome = await run({ seed: 1, writers: 64, appends: 150, kills: 20 });
    expect(outcome.violations).toEqual([]);
    expect(outcome.acknowledged).toBe(64 * 150);
  }, 120_000);
});
