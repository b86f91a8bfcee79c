import { Logger, Module, type Provider } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { Database } from '../../src/kernel/database/database';
import type { StoredEvent } from '../../src/kernel/event-store/event';
import { EventStore } from '../../src/kernel/event-store/event-store';
import { newId } from '../../src/kernel/ids';
import { KernelModule } from '../../src/kernel/kernel.module';
import { Sagas } from '../../src/kernel/sagas/sagas';
import { DeadLetters } from '../../src/kernel/subscriptions/dead-letters';
import type { RetryOptions } from '../../src/kernel/subscriptions/runner';
import { Subscriptions } from '../../src/kernel/subscriptions/subscriptions';
import { grantedUrl } from '../support/database';

/** The store alone, as a process of its own has it: in the application's role. */
export interface OpenStore {
  readonly store: EventStore;
  readonly database: Database;
  close(): Promise<void>;
}

export async function openStore(ownerUrl: string): Promise<OpenStore> {
  const url = await grantedUrl(ownerUrl);
  // the faults that these tests bring about are no news
  Logger.overrideLogger(false);
  const database = new Database(url);
  const dataSource = await new DataSource({ type: 'postgres', url }).initialize();
  return {
    store: new EventStore(database, dataSource),
    database,
    async close() {
      await dataSource.destroy();
      await database.onApplicationShutdown();
    },
  };
}

/** The kernel as an app of its own, in the application's role, with the test's projections, reactions and handlers. */
export interface Kernel {
  readonly store: EventStore;
  readonly subscriptions: Subscriptions;
  readonly deadLetters: DeadLetters;
  readonly sagas: Sagas;
  get<T>(type: abstract new (...args: never[]) => T): T;
  close(): Promise<void>;
}

/** What all kernels of a spec file are started with. */
export const settings = { notify: true };

export const quickRetry: RetryOptions = {
  attempts: 3,
  backoffMs: 5,
  maxBackoffMs: 20,
  patienceMs: 60_000,
  deliveryMs: 30_000,
};

export async function startKernel(
  ownerUrl: string,
  providers: Provider[] = [],
  retry: Partial<RetryOptions> = {},
): Promise<Kernel> {
  const databaseUrl = await grantedUrl(ownerUrl);
  const kernel = KernelModule.forRoot({ databaseUrl, retry: { ...quickRetry, ...retry }, ...settings });
  @Module({ imports: [kernel], providers })
  class TestModule {}
  const app = await NestFactory.createApplicationContext(TestModule, { logger: false, abortOnError: false });
  const get = <T>(type: abstract new (...args: never[]) => T): T => app.get<T>(type, { strict: false });
  let closing: Promise<void> | undefined;
  return {
    store: get(EventStore),
    subscriptions: get(Subscriptions),
    deadLetters: get(DeadLetters),
    sagas: get(Sagas),
    get,
    close: () => (closing ??= app.close()),
  };
}

/** The tester's own connection: looks into tables, and does what an operator or a fault would do to them. */
export async function connect(url: string): Promise<Client> {
  const client = new Client({ connectionString: url, application_name: 'tester' });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** An empty log that nobody has read, at the price of a fraction of a database of one's own; with no kernel running. */
export async function forgetEverything(tester: Client): Promise<void> {
  await tester.query(`
    alter table event_store.events disable trigger user;
    truncate event_store.events, event_store.snapshots, subscriptions.dead_letters, subscriptions.checkpoints, sagas.instances;
    alter table event_store.events enable trigger user`);
}

/** Ends the sessions of that name, as a restart of the server or a broken line would. */
export async function kill(tester: Client, applicationName: string): Promise<number> {
  const { rowCount } = await tester.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and application_name = $1`,
    [applicationName],
  );
  return rowCount ?? 0;
}

/** Waits for what comes about outside of this process, or has no promise of its own. */
export async function eventually<T>(condition: () => T | Promise<T>, withinMs = 10_000): Promise<NonNullable<T>> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`Not within ${withinMs} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const gates = new Set<() => void>();

/** A gate that handlers can be made to wait at. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  gates.add(open);
  return { opened, open };
}

/** After a test: what failed before it opened its gate must not keep its app from closing. */
export function openGates(): void {
  for (const open of gates) open();
  gates.clear();
}

export const aThing = () => ({ type: 'thing', id: newId() });

/** An event with a number in it, enough to see order and repetition. */
export const happened = (n: number, more: object = {}) => ({ type: 'thing.happened', n, ...more });

export const numbers = (events: readonly StoredEvent[]) => events.map((event) => event.payload['n']);
