import { Logger } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { Database } from '../../../src/kernel/database/database';
import { EventStore } from '../../../src/kernel/event-store/event-store';
import type { Store } from '../load';

/** The log as the app has it, in a database that is migrated. */
export async function open(url: string): Promise<Store> {
  Logger.overrideLogger(['warn', 'error']);
  const database = new Database(url);
  const dataSource = await new DataSource({ type: 'postgres', url }).initialize();
  const store = new EventStore(database, dataSource);
  return {
    append: (id, { type, data }) =>
      store.append({ type: 'order', id }, [{ ...data, type }], { expectedVersion: 'noStream' }),
    stored() {
      // positions have no gaps, and counting ten millions would take longer than the round
      return store.head();
    },
    async close() {
      await dataSource.destroy();
      await database.onApplicationShutdown();
    },
  };
}
