import type { Client } from 'pg';
import { Session } from './session';

/** Runs `work` on a connection of its own, which ends with it. */
export async function connected<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Session({ connectionString: url });
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}
