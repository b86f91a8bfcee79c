import type { Client } from 'pg';
import { LocatedClient } from './located-client';

/** Runs `work` on a connection of its own, which ends with it. */
export async function connected<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new LocatedClient({ connectionString: url, connectionTimeoutMillis: 10_000 });
  // A connection that is lost fails the query in flight; without a listener it would end the process as well.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}
