import { addressKey } from '../../kernel/http/client-address';
import { ProblemError } from '../../kernel/http/problem';
import type { ApiKeyFound } from '../../modules/users/contracts/verify-api-key';

/** Different keys that turn out to be unknown, per address and minute; then its next ones are not looked up. */
const perMinute = 20;
const minuteMs = 60_000;

interface Address {
  /** Keys that turned out to be unknown in the minute that began with the first of them. */
  unknown: number;
  endsAt: number;
  running: number;
  readonly waiting: (() => void)[];
}

/**
 * Bounds the look-ups of unknown keys, also of keys that come at the same time: as many run at once as may still turn out
 * to be unknown, and the others wait for one of them. Good keys of one address, however many, are only held up.
 */
export class UnknownKeys {
  private readonly addresses = new Map<string, Address>();

  /** @throws ProblemError 429 after too many unknown keys from the address */
  assertFew(address: string): void {
    assertFewOf(this.addresses.get(addressKey(address)));
  }

  /** @throws ProblemError 429 after too many unknown keys from the address */
  async inTurn(address: string, lookUp: () => Promise<ApiKeyFound>): Promise<ApiKeyFound> {
    const key = addressKey(address);
    const from = this.addresses.get(key) ?? { unknown: 0, endsAt: 0, running: 0, waiting: [] };
    this.addresses.set(key, from);
    while (from.unknown + from.running >= perMinute) {
      assertFewOf(from);
      await new Promise<void>((resolve) => from.waiting.push(resolve));
    }
    from.running++;
    try {
      const found = await lookUp();
      if (found === 'unknown') this.count(key, from);
      return found;
    } finally {
      from.running--;
      // all, once there are no more turns: each is refused
      const woken = from.waiting.splice(0, from.unknown < perMinute ? 1 : Infinity);
      for (const wake of woken) wake();
      if (woken.length === 0) this.forget(key, from);
    }
  }

  private count(key: string, from: Address): void {
    if (++from.unknown > 1) return;
    from.endsAt = performance.now() + minuteMs;
    setTimeout(() => {
      from.unknown = 0;
      this.forget(key, from);
    }, minuteMs).unref();
  }

  private forget(key: string, { unknown, running, waiting }: Address): void {
    if (unknown + running + waiting.length === 0) this.addresses.delete(key);
  }
}

function assertFewOf(from: Address | undefined): void {
  if (!from || from.unknown < perMinute) return;
  const seconds = Math.max(1, Math.ceil((from.endsAt - performance.now()) / 1000));
  const detail = `Too many unknown API keys from this address. Try again in ${seconds} s.`;
  throw new ProblemError(429, 'too-many-attempts', detail, {}, { 'Retry-After': String(seconds) });
}
