import { createHash, randomFillSync } from 'node:crypto';
import { v7 } from 'uuid';

const entropy = Buffer.alloc(4096);
let used = entropy.length;

/** Random bytes by the page: a system call for each id takes longer than all the rest of making it. */
function randomBytes(): Buffer {
  if (used === entropy.length) {
    randomFillSync(entropy);
    used = 0;
  }
  return entropy.subarray(used, (used += 16));
}

/** A new UUIDv7: sorts by the millisecond of its making, so that indexes grow at their end. */
export const newId = (): string => v7({ rng: randomBytes });

/**
 * An id that follows from another: the same `seed` and `name` always give the same id, so a repeat finds what the first
 * try made. Use it for an aggregate that belongs to another, such as the payment of an order:
 * `deriveId(orderId, 'payment')`. Ids are unique over all aggregate types, so two aggregates cannot share one.
 *
 * Shaped like a UUIDv8 (RFC 9562) that keeps the first 48 bits of its seed: ids derived from a UUIDv7 sort by time
 * like their seed does, where a UUIDv5 would scatter over the whole index.
 */
export function deriveId(seed: string, name: string): string {
  const hash = createHash('sha256').update(seed).update('\n').update(name).digest('hex');
  const variant = ((parseInt(hash.charAt(4), 16) & 0x3) | 0x8).toString(16);
  return `${seed.slice(0, 13)}-8${hash.slice(1, 4)}-${variant}${hash.slice(5, 8)}-${hash.slice(8, 20)}`;
}

/** As {@link deriveId}, for a seed that is any text, such as an idempotency key: no time to keep. */
export function idOf(text: string): string {
  const hash = createHash('sha256').update(text).digest('hex');
  return deriveId(`${hash.slice(0, 8)}-${hash.slice(8, 12)}-8000-8000-000000000000`, text);
}
