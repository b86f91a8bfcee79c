import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { AppProcess, freePort } from '../process/app-process';
import { Api } from '../support/api';
import { compete, ours, rates } from './appending';
import type { Bench, Run } from './bench';
import { fillLog } from './order-log';
import { atMost, type Comparison, figure, type Line, median } from './report';

/** A cost may grow by this much, however long the log is. */
const allowed = 1.2;
const password = 'a password for benches';
/** Requests under way at once. */
const buyers = 8;

export const growth: Bench = {
  name: 'growth',
  about: 'appends, and orders over HTTP, as the log grows to a million events (ten with --full)',
  async run(run): Promise<Comparison[]> {
    const lengths = [0, 1_000_000, ...(run.full ? [10_000_000] : [])];
    const names = lengths.map((events) =>
      events === 0 ? 'Orderloom, empty log' : `Orderloom, ${figure(events)} events`,
    );
    const urls: string[] = [];
    let appended: Awaited<ReturnType<typeof compete>>;
    let placed: number[][];
    try {
      for (const [nth, events] of lengths.entries()) {
        const url = await run.server.database(`growth_${nth}`, true);
        urls.push(url);
        // The app starts once before the log grows, so that its subscriptions are there and can be put to the log's end.
        await Shop.prepare(url);
        run.progress(`growth: ${names[nth]}, being filled`);
        await fill(url, events);
      }
      const entries = urls.map((url, nth) => ({ ...ours, name: names[nth]!, url }));
      appended = await compete(run, 'growth', entries, [32, 1]);
      placed = await place(run, names, urls);
    } finally {
      for (const nth of lengths.keys()) await run.server.drop(`growth_${nth}`);
    }
    return [
      {
        name: 'growth-append',
        title: 'As the log grows: 32 callers that append',
        about:
          'Logs of different length side by side in one Postgres; one event a command. The ratio is of the time that one takes.',
        unit: 'events/s',
        lines: against(
          names,
          appended.map(([rounds]) => rates(rounds!)),
          (empty, grown) => empty / grown,
        ),
      },
      {
        name: 'growth-lone',
        title: 'As the log grows: one lone append',
        about: 'The median time of each round.',
        unit: 'ms',
        lines: against(
          names,
          appended.map(([, rounds]) => rounds!.map(({ p50 }) => p50)),
          (empty, grown) => grown / empty,
        ),
      },
      {
        name: 'growth-orders',
        title: 'As the log grows: orders over HTTP',
        about: `The app as a process of its own, ${buyers} buyers at a time; each order is answered when it is paid and on its way (\`Prefer: wait=10\`).`,
        unit: 'orders/s',
        lines: against(names, placed, (empty, grown) => empty / grown),
      },
    ];
  },
};

function against(names: readonly string[], rounds: number[][], cost: (empty: number, grown: number) => number): Line[] {
  return names.map((contender, nth): Line => {
    if (nth === 0) return { contender, rounds: rounds[nth]! };
    const ratio = cost(median(rounds[0]!), median(rounds[nth]!));
    return { contender, rounds: rounds[nth]!, ratio, goal: atMost(allowed, ratio) };
  });
}

async function fill(url: string, events: number): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    if (events > 0) await client.query(fillLog(events));
    await client.query('vacuum (analyze) event_store.events');
  } finally {
    await client.end();
  }
}

/** What is in the log was not said to these readers. */
async function skipAll(url: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(
      `update subscriptions.checkpoints set position = (select max(position) from event_store.events)`,
    );
  } finally {
    await client.end();
  }
}

class Shop {
  private constructor(
    readonly name: string,
    private readonly app: AppProcess,
    private readonly admin: Api,
  ) {}

  static async open(name: string, databaseUrl: string): Promise<Shop> {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const app = new AppProcess({
      DATABASE_URL: databaseUrl,
      PORT: String(port),
      ADMIN_EMAIL: 'admin@example.com',
      ADMIN_PASSWORD: password,
      DEMO_DATA: 'true',
      LOG_LEVEL: 'warn',
      NODE_ENV: 'test',
      ACCESS_TOKEN_SECONDS: '86400',
    });
    try {
      await app.ready(url);
      return new Shop(name, app, await Api.signIn(url, 'admin@example.com', password));
    } catch (error) {
      await app.end();
      throw error;
    }
  }

  /** All that the app makes at its first start, and enough to sell. */
  static async prepare(databaseUrl: string): Promise<void> {
    const shop = await Shop.open('the app', databaseUrl);
    try {
      await shop.stock();
    } finally {
      await shop.close();
    }
  }

  private async stock(): Promise<void> {
    const { status, body } = await this.admin.post(`/v1/products/${product}/stock-adjustments`, {
      delta: 1_000_000,
      reason: 'for the bench',
    });
    if (status >= 300) throw new Error(`No stock: ${status} ${JSON.stringify(body)}`);
  }

  /** @returns orders a second that were paid and on their way */
  async sell(ms: number): Promise<number> {
    const begun = performance.now();
    let sold = 0;
    const buyer = async () => {
      while (performance.now() - begun < ms) {
        const { status, body } = await this.admin.post('/v1/orders', order(), { prefer: 'wait=10' });
        if (status >= 300 || !['paid', 'fulfilling'].includes(body['status'] as string)) {
          throw new Error(`${this.name}: an order was answered with ${status} ${JSON.stringify(body)}`);
        }
        sold++;
      }
    };
    await Promise.all(Array.from({ length: buyers }, buyer));
    return (sold / (performance.now() - begun)) * 1000;
  }

  async close(): Promise<void> {
    await this.app.end();
  }
}

const product = '00000000-0000-7000-8000-000000000001';

const order = () => ({
  reference: randomUUID(),
  lines: [{ productId: product, quantity: 2 }],
  shippingAddress: { name: 'Ada Lovelace', line1: '12 St James’s Square', city: 'London', countryCode: 'GB' },
  paymentMethod: 'sandbox_ok',
  submit: true,
});

/** @returns orders a second, by shop and round */
async function place(run: Run, names: readonly string[], urls: readonly string[]): Promise<number[][]> {
  const shops: Shop[] = [];
  const sold: number[][] = names.map(() => []);
  try {
    for (const [nth, url] of urls.entries()) {
      await skipAll(url);
      shops.push(await Shop.open(names[nth]!, url));
    }
    await run.server.query('checkpoint');
    for (let round = 0; round <= run.rounds; round++) {
      for (let turn = 0; turn < shops.length; turn++) {
        const nth = (turn + round) % shops.length;
        const rate = await shops[nth]!.sell(run.seconds * 1000);
        run.progress(`growth ${round || 'warm-up'}: ${names[nth]}, ${Math.round(rate)} orders/s`);
        if (round > 0) sold[nth]!.push(rate);
      }
    }
  } finally {
    await Promise.all(shops.map((shop) => shop.close()));
  }
  return sold;
}
