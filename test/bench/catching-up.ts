import type { Bench, Run } from './bench';
import { Contender } from './contender';
import { expectedView, type ViewOfOrders } from './order-log';
import { atLeast, type Comparison, figure, type Goal, type Line, median } from './report';

/** Emmett sorts all that is left of its log for each batch: a long one would be unfair to it, and take too long. */
const emmettsEvents = 2000;
const eventsPerSecond = 50_000;

interface Way {
  readonly name: string;
  readonly module: string;
  readonly method: string;
  readonly events: number;
}

export const catchUp: Bench = {
  name: 'catch-up',
  about: 'a view of orders is made from the log, and rebuilt beside the live one; against Emmett',
  async run(run): Promise<Comparison[]> {
    const events = Math.ceil(run.events / 500) * 500;
    const ways: Way[] = [
      { name: 'Orderloom, catch-up', module: 'ours/view', method: 'catchUp', events },
      { name: 'Orderloom, rebuild', module: 'ours/view', method: 'rebuild', events },
      { name: 'Emmett, documents', module: 'peers/emmett-view', method: 'documents', events: emmettsEvents },
      { name: 'Emmett, SQL an event', module: 'peers/emmett-view', method: 'statements', events: emmettsEvents },
    ];
    const rates = await measure(run, ways);
    const slowest = Math.min(median(rates[0]!), median(rates[1]!));
    const lines = ways.map(({ name }, nth): Line => {
      const rounds = rates[nth]!;
      if (name.startsWith('Orderloom')) return { contender: name, rounds, goal: enough(median(rounds)) };
      const ratio = slowest / median(rounds);
      return { contender: name, rounds, ratio, goal: atLeast(10, ratio) };
    });
    const comparison: Comparison = {
      name: 'catch-up',
      title: 'Projection: catching up and rebuilding',
      about: `A row an order, folded from five events each, a hundred orders interleaved; every event of the log concerns the view. Ours is a \`FoldedView\` run by the app's subscriptions over ${figure(events)} events; Emmett has ${figure(emmettsEvents)} events, batches of 1,000, and the two kinds of projection that it documents. Ratios are to the slower of ours.`,
      unit: 'events/s',
      lines,
    };
    return [comparison];
  },
};

function enough(rate: number): Goal {
  const met = rate >= eventsPerSecond;
  const text = `≥ ${figure(eventsPerSecond)}`;
  return { text, met, ...(!met && { missing: `${figure(rate)} events/s of ${figure(eventsPerSecond)}` }) };
}

async function measure(run: Run, ways: readonly Way[]): Promise<number[][]> {
  const contenders = new Map<string, Contender>();
  const rates: number[][] = ways.map(() => []);
  try {
    for (const { name, module, events } of ways) {
      if (contenders.has(module)) continue;
      const url = await run.server.database(`catch-up_${contenders.size}`, module.startsWith('ours'));
      const contender = await Contender.start(name.split(',')[0]!, module, url);
      contenders.set(module, contender);
      await contender.ask('fill', events);
    }
    for (let round = 0; round <= run.rounds; round++) {
      for (const [nth, { name, module, method, events }] of ways.entries()) {
        const contender = contenders.get(module)!;
        const ms = await contender.ask<number>(method);
        const view = await contender.ask<ViewOfOrders>('view');
        const expected = expectedView(events);
        if (view.paid !== expected.paid || view.totalMinor !== expected.totalMinor) {
          throw new Error(`${name} made ${JSON.stringify(view)} where ${JSON.stringify(expected)} is right`);
        }
        run.progress(`catch-up ${round || 'warm-up'}: ${name} ${Math.round((events / ms) * 1000)}/s`);
        if (round > 0) rates[nth]!.push((events / ms) * 1000);
      }
    }
  } finally {
    await Promise.all([...contenders.values()].map((contender) => contender.end()));
    for (let nth = 0; nth < contenders.size; nth++) await run.server.drop(`catch-up_${nth}`);
  }
  return rates;
}
