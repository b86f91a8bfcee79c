import { setTimeout as delay } from 'node:timers/promises';
import type { Json } from '../support/api';
import type { Books, Violation } from './invariants';

interface Answer {
  readonly status: number;
  readonly body: Json;
}

const tea = ['00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000002'] as const;
/** Ten were made: who comes late gets none. */
const tin = '00000000-0000-7000-8000-000000000005';

/** How long a request may take while nothing is wrong; longer counts as hanging. */
const patienceMs = 30_000;

type Outcome = 'answered' | 'refused' | 'lost';

/**
 * People and programs at the API, who repeat what got no answer with the same key until it has one, and remember what
 * they were told. Their decisions follow from the seed.
 */
export class Clients {
  private token = '';
  private readonly attempted = new Set<string>();
  private readonly orders = new Map<string, { id: string; submitted: boolean; lines: number }>();
  private readonly refused = new Set<string>();
  private readonly cancelled = new Set<string>();
  private readonly dispatched = new Set<string>();
  private readonly adjusted = new Map<string, { delta: number; acknowledged: boolean }>();
  private readonly waiting = new Set<Promise<unknown>>();
  readonly violations: Violation[] = [];
  /** Requests that got no answer, or were asked to come again, and were repeated. */
  repeats = 0;
  acknowledged = 0;

  constructor(
    private readonly url: string,
    private readonly random: () => number,
  ) {}

  get books(): Books {
    const { attempted, orders, refused, cancelled, dispatched, adjusted } = this;
    return { attempted, orders, refused, cancelled, dispatched, adjusted };
  }

  async signIn(username: string, password: string): Promise<void> {
    const { body } = await this.send('POST', '/v1/auth/token', undefined, { username, password });
    this.token = body['access_token'] as string;
  }

  /** Goods for everybody. */
  async fillShelves(reference: string): Promise<void> {
    await Promise.all(
      tea.map(async (product, nth) => {
        const [reason, delta] = [`${reference}-${nth}`, 100_000 + nth];
        this.adjusted.set(reason, { delta, acknowledged: false });
        await this.post(`/v1/products/${product}/stock-adjustments`, reason, { delta, reason });
        this.adjusted.set(reason, { delta, acknowledged: true });
      }),
    );
  }

  /** Lets `count` customers order at once; {@link settled} tells when all of them have their answer. */
  order(count: number, reference: string): void {
    for (let nth = 0; nth < count; nth++) this.keep(this.customer(nth, `${reference}-${nth}`));
  }

  /** As an operator who takes the payment provider out, and back in. */
  async payments(how: 'isolate' | 'reset'): Promise<void> {
    await this.send('POST', `/v1/operations/circuit-breakers/payment-provider/${how}`);
  }

  /** Some parcels leave, and some of those arrive. */
  async ship(share: number): Promise<void> {
    const { body } = await this.send('GET', '/v1/shipments?status=created&limit=100');
    const ids = (body['data'] as { id: string }[]).map(({ id }) => id).filter(() => this.random() < share);
    for (const id of ids) {
      this.keep(
        this.send('POST', `/v1/shipments/${id}/dispatch`).then(async ({ status }) => {
          if (status === 200) this.dispatched.add(id);
          if (status === 200 && id.charCodeAt(id.length - 1) % 2)
            await this.send('POST', `/v1/shipments/${id}/deliver`);
        }),
      );
    }
  }

  /** Resolves when everybody has an answer, however often they had to ask. */
  async settled(): Promise<void> {
    while (this.waiting.size > 0) await Promise.all(this.waiting);
  }

  /** Every order that was acknowledged is there, and has come to something. */
  async review(): Promise<Violation[]> {
    const found: Violation[] = [];
    const orders = [...this.orders].filter(([, { submitted }]) => submitted).slice(-500);
    await Promise.all(
      orders.map(async ([reference, { id }]) => {
        const { status, body } = await this.send('GET', `/v1/orders/${id}`);
        const ended = ['fulfilling', 'shipped', 'delivered', 'completed', 'cancelled'].includes(
          body['status'] as string,
        );
        if (status === 200 && body['reference'] === reference && ended) return;
        found.push({
          invariant: 'an acknowledged order is there',
          detail: `${reference} ${id}: ${status} ${body['status']}`,
        });
      }),
    );
    return found;
  }

  get<T>(path: string): Promise<T> {
    return this.send('GET', path).then(({ body }) => body as T);
  }

  private keep(work: Promise<unknown>): void {
    const kept: Promise<unknown> = work
      .catch((error: Error) => this.say('a client gets an answer', error.message))
      .finally(() => this.waiting.delete(kept));
    this.waiting.add(kept);
  }

  private async customer(nth: number, reference: string): Promise<void> {
    const [how, method, where, twice, hesitation] = Array.from({ length: 5 }, this.random) as [
      number,
      ...[number, number, number, number],
    ];
    const line = (product: string) => ({ productId: product, quantity: 1 + Math.floor(this.random() * 3) });
    const lines = method < 0.03 ? [line(tin)] : [line(tea[0]), ...(where < 0.4 ? [line(tea[1])] : [])];
    const order = {
      reference,
      lines,
      paymentMethod: methodOf(nth, method),
      shippingAddress: {
        name: 'Ada',
        line1: 'St James’s Square 12',
        city: 'London',
        countryCode: where > 0.9 ? 'AQ' : 'GB',
      },
    };
    this.attempted.add(reference);
    await delay(hesitation * 300);
    if (how < 0.12) return this.composed(reference, order);

    const body = { ...order, submit: true };
    // an impatient finger: the same request twice at the same time
    const answers = await Promise.all((twice < 0.1 ? [1, 2] : [1]).map(() => this.post('/v1/orders', reference, body)));
    const [first, second = first] = answers;
    if (first!.body.id !== second!.body.id) {
      this.say('a repeated request has one answer', `${reference}: ${JSON.stringify([first, second])}`);
    }
    const outcome = this.note(reference, answers[0]!, 202);
    if (outcome !== 'answered') return;
    const id = answers[0]!.body['id'] as string;
    this.orders.set(reference, { id, submitted: true, lines: lines.length });
    if (how > 0.92) {
      await delay(hesitation * 1000);
      await this.cancel(id, reference);
    }
  }

  /** Puts an order together one by one. */
  private async composed(reference: string, order: { lines: unknown[] }): Promise<void> {
    const [first, ...others] = order.lines;
    const made = await this.post('/v1/orders', reference, { ...order, lines: [first], submit: false });
    if (this.note(reference, made, 201) !== 'answered') return;
    const id = made.body['id'] as string;
    const entry = { id, submitted: false, lines: 1 };
    this.orders.set(reference, entry);
    for (const [nth, line] of others.entries()) {
      const { status } = await this.post(`/v1/orders/${id}/lines`, `${reference}/line-${nth}`, line);
      if (status === 201) entry.lines++;
    }
    const { status, body } = await this.post(`/v1/orders/${id}/submit`, `${reference}/submit`, {});
    if (status === 202) this.orders.set(reference, { ...entry, submitted: true });
    // sold out since: it stays a draft
    else if (status !== 409 || body['code'] !== 'unavailable')
      this.say('a client sees only what it should', `submit ${reference}: ${status}`);
  }

  private async cancel(id: string, reference: string): Promise<void> {
    const { status } = await this.post(`/v1/orders/${id}/cancel`, `${reference}/cancel`, { reason: 'changed my mind' });
    if (status === 202) this.cancelled.add(id);
    else if (status !== 409) this.say('a client sees only what it should', `cancel ${reference}: ${status}`);
  }

  private note(reference: string, { status, body }: Answer, success: number): Outcome {
    if (status === success) {
      this.acknowledged++;
      return 'answered';
    }
    if (status === 409 && body['code'] === 'unavailable') {
      this.refused.add(reference);
      return 'refused';
    }
    this.say('a client sees only what it should', `order ${reference}: ${status} ${JSON.stringify(body)}`);
    return 'lost';
  }

  private post(path: string, key: string, body: unknown): Promise<Answer> {
    return this.send('POST', path, key, body);
  }

  /** Asks until there is an answer other than "come again". */
  private async send(method: string, path: string, key?: string, body?: unknown): Promise<Answer> {
    for (;;) {
      const answer = await this.ask(method, path, key, body);
      if (answer && answer.status < 500 && answer.body['code'] !== 'request-in-progress') return answer;
      if (answer && answer.status >= 500 && answer.status !== 503) {
        this.say(
          'a client sees only what it should',
          `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`,
        );
      }
      this.repeats++;
      await delay(100 + Math.random() * 300);
    }
  }

  private async ask(method: string, path: string, key?: string, body?: unknown): Promise<Answer | undefined> {
    try {
      const response = await fetch(this.url + path, {
        method,
        headers: {
          ...(this.token && { authorization: `Bearer ${this.token}` }),
          ...(key !== undefined && { 'idempotency-key': key }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(patienceMs),
      });
      const text = await response.text();
      return { status: response.status, body: text ? JSON.parse(text) : {} };
    } catch (error) {
      if ((error as Error).name === 'TimeoutError') this.say('nothing hangs', `${method} ${path}: ${patienceMs} ms`);
      return undefined;
    }
  }

  private say(invariant: string, detail: string): void {
    this.violations.push({ invariant, detail });
  }
}

/** Flaky ones are few: five failures in a row open the circuit breaker for half a minute, as they should. */
function methodOf(nth: number, chance: number): string {
  if (nth % 80 === 40) return 'sandbox_flaky';
  if (chance < 0.08) return 'sandbox_slow';
  return chance < 0.2 ? 'sandbox_declined' : 'sandbox_ok';
}
