import { v7 } from 'uuid';

/** An event of about 200 bytes of JSON, as an order's are. */
export interface OrderEvent {
  readonly type: string;
  readonly data: Record<string, unknown>;
}

/** What every store can do: one event to a new stream, in a commit that has reached the disk when it resolves. */
export interface Store {
  /** @param id a new UUIDv7, the stream's */
  append(id: string, event: OrderEvent): Promise<unknown>;
  /** Events that are in the database. */
  stored(): Promise<number>;
  close(): Promise<void>;
}

export interface Appended {
  /** Acknowledged appends. */
  readonly count: number;
  readonly ms: number;
  /** Of single appends, in ms. */
  readonly p50: number;
  readonly p99: number;
}

let made = 0;

export function orderEvent(): OrderEvent {
  made++;
  return {
    type: 'order.line-added',
    data: {
      lineId: v7(),
      productId: '00000000-0000-7000-8000-000000000001',
      name: 'Assorted colour bird ornament',
      quantity: (made % 12) + 1,
      unitPrice: { currency: 'GBP', amountMinor: 169 + (made % 100) },
    },
  };
}

/** Rounds of appends over a store. */
export function appends(store: Store) {
  return {
    /** `concurrency` callers, each with its next append as soon as the one before is acknowledged, for `ms`. */
    async round(concurrency: number, ms: number): Promise<Appended> {
      const times: number[] = [];
      const begun = performance.now();
      const caller = async () => {
        for (let now = performance.now(); now - begun < ms;) {
          await store.append(v7(), orderEvent());
          const then = now;
          times.push((now = performance.now()) - then);
        }
      };
      await Promise.all(Array.from({ length: concurrency }, caller));
      const took = performance.now() - begun;
      times.sort((a, b) => a - b);
      const quantile = (q: number) => times[Math.min(times.length - 1, Math.floor(times.length * q))] ?? 0;
      return { count: times.length, ms: took, p50: quantile(0.5), p99: quantile(0.99) };
    },
  };
}
