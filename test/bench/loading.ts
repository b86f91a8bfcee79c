import type { Bench } from './bench';
import { Contender } from './contender';
import { atLeast, type Comparison, figure, median } from './report';

interface Loaded {
  readonly ms: number;
  readonly version: number;
  readonly state: string;
}

const length = 10_000;

export const load: Bench = {
  name: 'load',
  about: 'an order of 10,000 events, with its snapshot and without',
  async run(run): Promise<Comparison[]> {
    const contender = await Contender.start('load', 'ours/long-stream', await run.server.database('load', true));
    const times = { with: [] as number[], without: [] as number[] };
    try {
      await contender.ask('fill', length);
      for (let round = 0; round <= run.rounds; round++) {
        const fast = await contender.ask<Loaded>('load', 'with', 100);
        const slow = await contender.ask<Loaded>('load', 'without', 5);
        if (fast.version !== slow.version || fast.version < length || fast.state !== slow.state) {
          throw new Error(`With its snapshot the order is at version ${fast.version}, and not as it is without it`);
        }
        run.progress(
          `load ${round || 'warm-up'}: ${figure(fast.ms)} ms with a snapshot, ${figure(slow.ms)} ms without`,
        );
        if (round === 0) continue;
        times.with.push(fast.ms);
        times.without.push(slow.ms);
      }
    } finally {
      await contender.end();
      await run.server.drop('load');
    }
    const ratio = median(times.without) / median(times.with);
    const comparison: Comparison = {
      name: 'load',
      title: 'Loading an order of 10,000 events',
      about:
        'Through the same store as the orders module uses, with a snapshot every 100 events (the default; here 50 events behind the last) and without. The states are compared.',
      unit: 'ms',
      lines: [
        { contender: 'Orderloom, with a snapshot', rounds: times.with },
        { contender: 'Orderloom, without', rounds: times.without, ratio, goal: atLeast(20, ratio) },
      ],
    };
    return [comparison];
  },
};
