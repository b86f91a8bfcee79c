import { randomUUID } from 'node:crypto';
import { anOrder } from '../journeys/shop';
import { eventually } from '../kernel/support';
import type { Answer, Api } from '../support/api';

interface Sent {
  /** Idempotency-Key and reference of the order. */
  readonly key: string;
  readonly answer: Answer | Error;
}

/** They order one thing after the other, each with a key of its own, until they are told to stop. */
export class Customers {
  readonly sent: Sent[] = [];
  private open = true;
  private readonly working: Promise<void>[];

  constructor(
    private readonly api: Api,
    readonly count: number,
  ) {
    this.working = Array.from({ length: count }, () => this.order());
  }

  /** Resolves when so many more orders have been acknowledged. */
  async acknowledged(more: number): Promise<void> {
    const enough = this.succeeded + more;
    await eventually(() => this.succeeded >= enough, 60_000);
  }

  /** What was not acknowledged, and why. */
  get failed(): { key: string; reason: string }[] {
    return this.sent.filter((each) => !isAcknowledged(each)).map(({ key, answer }) => ({ key, reason: told(answer) }));
  }

  async stop(): Promise<void> {
    this.open = false;
    await Promise.all(this.working);
  }

  private get succeeded(): number {
    return this.sent.filter(isAcknowledged).length;
  }

  private async order(): Promise<void> {
    while (this.open) {
      const key = randomUUID();
      this.sent.push({ key, answer: await place(this.api, key) });
    }
  }
}

const isAcknowledged = ({ answer }: Sent) => !(answer instanceof Error) && answer.status === 202;

const told = (answer: Answer | Error) =>
  answer instanceof Error ? answer.message : `${answer.status} ${answer.body.code ?? ''}`;

/** Places the order of a key, as often as it is called. */
export function place(api: Api, key: string): Promise<Answer | Error> {
  const body = anOrder({ reference: key });
  return api.post('/v1/orders', body, { 'idempotency-key': key }).catch((error: Error) => error);
}

/** Asks as long as it is not known what became of the order: the first attempt may hold the key for some seconds. */
export function placed(api: Api, key: string): Promise<Answer> {
  return eventually(async () => {
    const answer = await place(api, key);
    return answer instanceof Error || [409, 502, 503].includes(answer.status) ? undefined : answer;
  }, 30_000);
}

/** How many orders there are of each key. */
export async function countOrders(api: Api, keys: readonly string[]): Promise<number[]> {
  const counts = new Map<string, number>();
  for (const { reference } of await api.all('/v1/orders')) {
    counts.set(reference, (counts.get(reference) ?? 0) + 1);
  }
  return keys.map((key) => counts.get(key) ?? 0);
}
