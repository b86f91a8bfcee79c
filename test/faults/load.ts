import { setTimeout as delay } from 'node:timers/promises';
import type { Books, Violation } from '../crash/invariants';
import type { Json } from '../support/api';
import { random } from '../support/random';

const tea = ['00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000002'] as const;
/** Ten were made: who comes late gets none. */
const tin = '00000000-0000-7000-8000-000000000005';

export const ordersPerSecond = 20;
/** How long a request may take, whatever is wrong. */
const patienceMs = 30_000;

interface Answer {
  readonly status: number;
  readonly body: Json;
}

/** An answer, or the lack of one, and when the server asks to be asked again, in ms. */
type Attempt = { readonly answer?: Answer; readonly retryAfterMs: number };

/** What a customer does; follows from the seed and the number of the order alone. */
interface Plan {
  readonly reference: string;
  readonly body: object;
  /** In s, for the answer to wait for the outcome; 0 for not at all. */
  readonly wait: number;
  /** ms after the acknowledgement; undefined for never. */
  readonly cancelAfterMs?: number;
  readonly repeatAfterMs?: number;
  readonly readAfterMs?: number;
  /** The order may end cancelled though nobody cancels it: a declined card, or goods that are not there. */
  readonly mayFail: boolean;
  /** Which of the processes it goes to. */
  readonly replica: number;
}

export interface Order {
  readonly reference: string;
  /** When it was sent for the first time, in ms of the epoch, and to which process. */
  readonly sentAt: number;
  readonly url: string;
  id?: string;
  acceptedAt?: number;
}

/** A request that was asked to come again (503), failed otherwise, or got no answer. */
export interface Refusal {
  readonly at: number;
  readonly what: string;
}

/** A 404 for an order that was acknowledged before. */
export interface Missed {
  readonly id: string;
  readonly at: number;
  readonly what: string;
}

/**
 * Customers who order at a constant rate, whether they get answers or not, and repeat what got none with the same key
 * until it has one, as often as Retry-After allows. Some cancel, some read what they ordered, and some repeat what was answered already.
 */
export class Load {
  private token = '';
  private ordering: Promise<void> = Promise.resolve();
  private stopped = false;
  private readonly waiting = new Set<Promise<void>>();
  private readonly attempted = new Set<string>();
  private readonly acknowledged = new Map<string, { id: string; submitted: boolean; lines: number }>();
  private readonly refused = new Set<string>();
  private readonly cancelled = new Set<string>();
  private readonly adjusted = new Map<string, { delta: number; acknowledged: boolean }>();
  readonly orders: Order[] = [];
  readonly refusals: Refusal[] = [];
  readonly missed: Missed[] = [];
  readonly violations: Violation[] = [];
  /** References of orders that may end cancelled: somebody asked for it, or they cannot be carried out. */
  readonly mayBeCancelled = new Set<string>();
  /** When each acknowledged cancellation was sent for the first time, by the id of its order. */
  readonly cancelSentAt = new Map<string, number>();

  constructor(
    private readonly urls: readonly string[],
    private readonly seed: number,
  ) {}

  get books(): Books {
    const { attempted, acknowledged: orders, refused, cancelled, adjusted } = this;
    return { attempted, orders, refused, cancelled, dispatched: new Set(), adjusted };
  }

  /** Forgets what was acknowledged and is known to be lost. */
  forget(lost: ReadonlySet<string>): void {
    for (const [reference, { id }] of this.acknowledged) if (lost.has(id)) this.acknowledged.delete(reference);
    for (const id of lost) this.cancelled.delete(id);
  }

  async open(username: string, password: string): Promise<void> {
    const { body } = await this.send('POST', '/v1/auth/token', 0, undefined, { username, password });
    this.token = body['access_token'] as string;
    for (const [nth, product] of tea.entries()) {
      const [reason, delta] = [`goods-${nth}`, 100_000];
      this.adjusted.set(reason, { delta, acknowledged: true });
      await this.send('POST', `/v1/products/${product}/stock-adjustments`, 0, reason, { delta, reason });
    }
  }

  start(): void {
    this.ordering = this.order();
  }

  /** Nobody orders any more; what was begun goes on. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.ordering;
  }

  /** @returns false when not everybody has an answer within `ms` */
  async settled(ms: number): Promise<boolean> {
    for (const deadline = Date.now() + ms; this.waiting.size > 0;) {
      const left = deadline - Date.now();
      if (left <= 0) return false;
      await Promise.race([Promise.all(this.waiting), delay(left, undefined, { ref: false })]);
    }
    return true;
  }

  private async order(): Promise<void> {
    const begun = performance.now();
    for (let nth = 0; !this.stopped; nth++) {
      await delay(Math.max(0, begun + (nth * 1000) / ordersPerSecond - performance.now()));
      const work: Promise<void> = this.customer(planOf(this.seed, nth, this.urls.length))
        .catch((error: Error) => this.say('a client gets an answer', error.stack ?? error.message))
        .finally(() => this.waiting.delete(work));
      this.waiting.add(work);
    }
  }

  private async customer(plan: Plan): Promise<void> {
    const { reference, body, wait, replica } = plan;
    const order: Order = { reference, sentAt: Date.now(), url: this.urls[replica]! };
    this.orders.push(order);
    this.attempted.add(reference);
    if (plan.mayFail) this.mayBeCancelled.add(reference);
    const place = () => this.send('POST', '/v1/orders', replica, reference, body, wait);
    const answer = await place();
    if (answer.status === 202) {
      order.id = answer.body['id'] as string;
      order.acceptedAt = Date.now();
      this.acknowledged.set(reference, { id: order.id, submitted: true, lines: 1 });
    } else if (answer.status === 409 && answer.body['code'] === 'unavailable' && plan.mayFail) {
      this.refused.add(reference);
    } else {
      this.say('an order is placed, or refused for what it is', `${reference}: ${shown(answer)}`);
    }
    await Promise.all([
      this.repeat(plan, answer, place),
      order.id !== undefined && this.read(plan, order.id),
      order.id !== undefined && this.cancel(plan, order.id),
    ]);
  }

  private async repeat({ reference, repeatAfterMs }: Plan, first: Answer, place: () => Promise<Answer>): Promise<void> {
    if (repeatAfterMs === undefined) return;
    await delay(repeatAfterMs);
    const again = await place();
    // lost with the answer: the order is made anew, or what is left of it is another
    if (JSON.stringify(first) !== JSON.stringify(again)) {
      this.repeated.push({ reference, first: shown(first), again: shown(again), id: first.body['id'] as string });
    }
  }

  /** Repeats that were answered otherwise than the first request. */
  readonly repeated: {
    readonly reference: string;
    readonly id: string;
    readonly first: string;
    readonly again: string;
  }[] = [];

  private async read({ readAfterMs, replica }: Plan, id: string): Promise<void> {
    if (readAfterMs === undefined) return;
    await delay(readAfterMs);
    await this.about(id, 'GET', `/v1/orders/${id}`, replica + 1, [200]);
  }

  private async cancel({ reference, cancelAfterMs, replica }: Plan, id: string): Promise<void> {
    if (cancelAfterMs === undefined) return;
    await delay(cancelAfterMs);
    this.mayBeCancelled.add(reference);
    const [key, sentAt] = [`${reference}/cancel`, Date.now()];
    // 409: it was cancelled already, for want of money
    const { status } = await this.about(id, 'POST', `/v1/orders/${id}/cancel`, replica, [202, 409], key, {
      reason: 'changed my mind',
    });
    if (status !== 202) return;
    this.cancelled.add(id);
    this.cancelSentAt.set(id, sentAt);
  }

  /** A request about an order that was acknowledged. */
  private async about(
    id: string,
    method: string,
    path: string,
    replica: number,
    expected: readonly number[],
    key?: string,
    body?: object,
  ): Promise<Answer> {
    const answer = await this.send(method, path, replica, key, body);
    if (answer.status === 404) this.missed.push({ id, at: Date.now(), what: `${method} ${path}` });
    else if (!expected.includes(answer.status))
      this.say('a client sees only what it should', `${path}: ${shown(answer)}`);
    return answer;
  }

  /** Asks until there is an answer other than "come again", one process after the other. */
  private async send(
    method: string,
    path: string,
    replica: number,
    key?: string,
    body?: object,
    wait = 0,
  ): Promise<Answer> {
    for (let nth = replica; ; nth++) {
      const url = this.urls[nth % this.urls.length]! + path;
      const { answer, retryAfterMs } = await this.ask(url, method, key, body, wait);
      if (answer && answer.status < 500 && answer.body['code'] !== 'request-in-progress') return answer;
      if (answer && answer.status >= 500 && answer.status !== 503) {
        this.say('no 5xx but 503', `${method} ${path}: ${shown(answer)}`);
      }
      if (!answer || answer.status >= 500) {
        this.refusals.push({ at: Date.now(), what: answer ? `${answer.status} ${answer.body['code']}` : 'no answer' });
      }
      await delay(retryAfterMs * (1 + Math.random() / 2));
    }
  }

  private async ask(
    url: string,
    method: string,
    key: string | undefined,
    body: object | undefined,
    wait: number,
  ): Promise<Attempt> {
    try {
      const response = await fetch(url, {
        method,
        headers: {
          ...(this.token && { authorization: `Bearer ${this.token}` }),
          ...(key !== undefined && { 'idempotency-key': key }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...(wait > 0 && { prefer: `wait=${wait}` }),
        },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(patienceMs),
      });
      const text = await response.text();
      const answer = { status: response.status, body: text ? JSON.parse(text) : {} };
      return { answer, retryAfterMs: 1000 * Number(response.headers.get('retry-after') ?? 1) };
    } catch (error) {
      if ((error as Error).name === 'TimeoutError') this.say('nothing hangs', `${method} ${url}: ${patienceMs} ms`);
      return { retryAfterMs: 1000 };
    }
  }

  private say(invariant: string, detail: string): void {
    this.violations.push({ invariant, detail });
  }
}

function planOf(seed: number, nth: number, replicas: number): Plan {
  const dice = random(seed * 100_003 + nth);
  const [goods, method, wait, cancel, repeat, read] = Array.from({ length: 6 }, dice) as [
    number,
    ...[number, number, number, number, number],
  ];
  const within = (chance: number, limit: number, ms: number) => (chance < limit ? (chance / limit) * ms : undefined);
  const product = goods < 0.02 ? tin : tea[nth % 2]!;
  const paymentMethod = method < 0.05 ? 'sandbox_declined' : method < 0.1 ? 'sandbox_slow' : 'sandbox_ok';
  return {
    reference: `order-${nth}`,
    body: {
      reference: `order-${nth}`,
      submit: true,
      lines: [{ productId: product, quantity: 1 + (nth % 3) }],
      paymentMethod,
      shippingAddress: { name: 'Ada', line1: 'St James’s Square 12', city: 'London', countryCode: 'GB' },
    },
    wait: wait < 0.15 ? 2 : 0,
    cancelAfterMs: within(cancel, 0.12, 2000),
    repeatAfterMs: within(repeat, 0.2, 5000),
    readAfterMs: within(read, 0.6, 500),
    mayFail: product === tin || paymentMethod === 'sandbox_declined',
    replica: Math.floor(dice() * replicas),
  };
}

function shown({ status, body }: Answer): string {
  return `${status} ${JSON.stringify(body).slice(0, 700)}`;
}
