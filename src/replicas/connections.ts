import type { Config } from '../config/config';
import { connected } from '../kernel/database/connected';
import { sessionsOf } from '../kernel/database/database';
import type { Lines } from '../lines';

/** For tools, migrations and the server itself. */
const spare = 20;

/** What so many replicas open when all of them are busy. */
export function connectionsOf(replicas: number, config: Config): number {
  const { DATABASE_POOL_READS: reads, DATABASE_POOL_VIEWS: views, DATABASE_POOL_ROWS: rows } = config;
  return replicas * sessionsOf({ reads, views, rows });
}

/** What the embedded Postgres has to take of them. */
export function serverConnections(needed: number): number {
  return Math.max(100, needed + spare);
}

/** Warns of a server that takes fewer. */
export async function checkConnections(url: string, needed: number, lines: Lines): Promise<void> {
  const free = await connected(url, async (client) => {
    const { rows } = await client.query<{ free: number }>(
      `select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as free`,
    );
    return rows[0]!.free;
  });
  if (needed <= free) return;
  lines.say(
    `The replicas open up to ${needed} connections, and the database takes ${free}: raise max_connections, start fewer ` +
      'replicas, or lower DATABASE_POOL_READS and the like.',
    'warn',
  );
}
