import { Logger } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { v7 } from 'uuid';
import { Database } from '../../../src/kernel/database/database';
import { AggregateStore } from '../../../src/kernel/event-store/aggregate-store';
import type { Decider } from '../../../src/kernel/event-store/decider';
import { EventStore } from '../../../src/kernel/event-store/event-store';
import type { SnapshotOptions } from '../../../src/kernel/event-store/snapshots';

interface LineChanged {
  readonly type: 'order.line-changed';
  readonly productId: string;
  readonly name: string;
  readonly quantity: number;
  readonly unitPrice: { readonly currency: string; readonly amountMinor: number };
}

/** Lines by product: twenty of them, however often they change. */
type Order = Readonly<Record<string, { readonly quantity: number; readonly amountMinor: number }>>;

const order: Decider<Order, LineChanged, LineChanged> = {
  type: 'order',
  initial: {},
  decide: (command) => [command],
  evolve: (state, { productId, quantity, unitPrice }) => ({
    ...state,
    [productId]: { quantity, amountMinor: unitPrice.amountMinor },
  }),
};

class Orders extends AggregateStore<Order, LineChanged, LineChanged> {
  constructor(store: EventStore, options: SnapshotOptions) {
    super(order, store, options);
  }
}

/** One long order, loaded through the app's own stores: with snapshots, as they are by default, and without. */
export async function open(url: string) {
  Logger.overrideLogger(['warn', 'error']);
  const database = new Database(url);
  const dataSource = await new DataSource({ type: 'postgres', url }).initialize();
  const store = new EventStore(database, dataSource);
  const id = v7();
  let made = 0;
  const change = (): LineChanged => ({
    type: 'order.line-changed',
    productId: `00000000-0000-7000-8000-${String(made % 20).padStart(12, '0')}`,
    name: 'Assorted colour bird ornament',
    quantity: (made++ % 12) + 1,
    unitPrice: { currency: 'GBP', amountMinor: 169 + (made % 100) },
  });
  const orders = {
    with: new Orders(store, { every: 100, stateVersion: 1 }),
    // of another state version, and so blind to the snapshots of the other
    without: new Orders(store, { every: Number.MAX_SAFE_INTEGER, stateVersion: 2 }),
  };
  return {
    /** Appends events, with a snapshot on the way, and half a hundred behind it. */
    async fill(events: number): Promise<void> {
      for (let version = 0; version < events - 50;) {
        const count = Math.min(500, events - 50 - version - 1 || 1);
        version += count;
        await store.append({ type: 'order', id }, Array.from({ length: count }, change));
      }
      while ((await orders.without.load(id)).version % 100 !== 0) await orders.with.decide(id, change());
      for (let nth = 0; nth < 50; nth++) await orders.with.decide(id, change());
    },
    /** @returns ms of one load, the median of `loads`; and what was loaded */
    async load(how: 'with' | 'without', loads: number): Promise<{ ms: number; version: number; state: string }> {
      const times: number[] = [];
      let loaded = await orders[how].load(id);
      for (let nth = 0; nth < loads; nth++) {
        const begun = performance.now();
        loaded = await orders[how].load(id);
        times.push(performance.now() - begun);
      }
      const lines = Object.entries(loaded.state).sort(([a], [b]) => (a < b ? -1 : 1));
      return {
        ms: times.sort((a, b) => a - b)[loads >> 1]!,
        version: loaded.version,
        state: JSON.stringify(lines.map(([id, { quantity, amountMinor }]) => [id, quantity, amountMinor])),
      };
    },
    async close() {
      await dataSource.destroy();
      await database.onApplicationShutdown();
    },
  };
}
