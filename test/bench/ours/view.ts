import { Module, type OnModuleInit } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Client, type PoolClient } from 'pg';
import type { StoredEvent } from '../../../src/kernel/event-store/event';
import { KernelModule } from '../../../src/kernel/kernel.module';
import { FoldedView, ProjectionOf } from '../../../src/kernel/subscriptions/projection';
import { Subscriptions } from '../../../src/kernel/subscriptions/subscriptions';
import { fillLog, type ViewOfOrders } from '../order-log';

interface Row {
  id: string;
  customer_id: string;
  reference: string;
  status: string;
  line_count: number;
  total_minor: number;
  currency: string;
  version: number;
  created_at: Date;
  updated_at: Date;
}

const table = `create table bench.orders (
  id uuid primary key, customer_id uuid not null, reference text not null, status text not null, line_count integer not null,
  total_minor bigint not null, currency text not null, version integer not null, created_at timestamptz not null,
  updated_at timestamptz not null)`;

/** When the app's subscriptions were about to start, and when the first batch of a rebuild came. */
const moments = { starting: 0, rebuilding: 0 };

@ProjectionOf('bench.orders')
class OrdersView extends FoldedView<Row> implements OnModuleInit {
  readonly eventTypes = ['order.created', 'order.line-added', 'order.submitted', 'order.paid'];

  constructor() {
    super({ table: 'bench.orders', key: 'id' });
  }

  onModuleInit(): void {
    moments.starting = performance.now();
  }

  override project(events: readonly StoredEvent[], view: PoolClient, table: string): Promise<void> {
    if (table !== this.table) moments.rebuilding ||= performance.now();
    return super.project(events, view, table);
  }

  protected keyOf(event: StoredEvent): string {
    return event.aggregateId;
  }

  protected evolve(row: Row | undefined, { eventType, payload, timestamp, version, aggregateId }: StoredEvent) {
    if (eventType === 'order.created') {
      return {
        id: aggregateId,
        customer_id: payload['customerId'] as string,
        reference: payload['reference'] as string,
        status: 'draft',
        line_count: 0,
        total_minor: 0,
        currency: payload['currency'] as string,
        version,
        created_at: timestamp,
        updated_at: timestamp,
      };
    }
    if (!row) return undefined;
    const next = { ...row, version, updated_at: timestamp };
    if (eventType === 'order.line-added') {
      const { amountMinor } = payload['unitPrice'] as { amountMinor: number };
      next.line_count++;
      next.total_minor += (payload['quantity'] as number) * amountMinor;
    } else next.status = eventType === 'order.submitted' ? 'submitted' : 'paid';
    return next;
  }
}

/** A view of orders through the app's own subscriptions: it catches up with a log, and is made anew. */
export async function open(url: string) {
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query(`create schema bench; ${table}`);

  const app = async () => {
    @Module({ imports: [KernelModule.forRoot({ databaseUrl: url })], providers: [OrdersView] })
    class BenchModule {}
    return NestFactory.createApplicationContext(BenchModule, { logger: ['warn', 'error'], abortOnError: false });
  };
  return {
    async fill(events: number): Promise<void> {
      await client.query(fillLog(events));
      await client.query('vacuum analyze event_store.events');
    },
    /** From nothing to all of the log. @returns ms, from before the subscriptions start */
    async catchUp(): Promise<number> {
      await client.query(`truncate bench.orders; truncate subscriptions.checkpoints; checkpoint`);
      const context = await app();
      await context.get(Subscriptions, { strict: false }).idle();
      const ms = performance.now() - moments.starting;
      await context.close();
      return ms;
    },
    /** The same beside the live view, then swapped for it. @returns ms, from its first batch */
    async rebuild(): Promise<number> {
      moments.rebuilding = 0;
      const context = await app();
      const subscriptions = context.get(Subscriptions, { strict: false });
      await subscriptions.idle();
      await subscriptions.rebuild('bench.orders');
      for (let under = true; under;) {
        const { rowCount } = await client.query(`select from subscriptions.checkpoints where name like '%/rebuild'`);
        under = rowCount! > 0;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      const ms = performance.now() - moments.rebuilding;
      await context.close();
      return ms;
    },
    async view(): Promise<ViewOfOrders> {
      const { rows } = await client.query<ViewOfOrders>(
        `select count(*) filter (where status = 'paid' and line_count = 2)::int as paid,
                coalesce(sum(total_minor), 0)::float8 as "totalMinor" from bench.orders`,
      );
      return rows[0]!;
    },
    close: () => client.end(),
  };
}
