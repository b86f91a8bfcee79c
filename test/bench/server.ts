import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { startEmbeddedPostgres } from '../../src/kernel/database/embedded-postgres';
import { migrate } from '../../src/kernel/database/migrate';

/** The Postgres of this run: the one that the product brings along, with its settings but for room for all contenders. */
export interface Server {
  /** A new database; with the product's schemas in it when it is `migrated`. */
  database(name: string, migrated?: boolean): Promise<string>;
  drop(name: string): Promise<void>;
  /** Runs one statement as an administrator. */
  query<Row>(text: string, database?: string): Promise<Row[]>;
  stop(): Promise<void>;
}

/** What a commit must have waited for in a benchmark that means anything. */
const durable = { fsync: 'on', synchronous_commit: 'on', full_page_writes: 'on' };

export async function startServer(): Promise<Server> {
  const directory = mkdtempSync(join(tmpdir(), 'orderloom-bench-'));
  chmodSync(directory, 0o755);
  const postgres = await startEmbeddedPostgres({
    directory: join(directory, 'data'),
    settings: { ...durable, max_connections: '600' },
  });
  const urlOf = (name: string) => {
    const url = new URL(postgres.ownerUrl);
    url.pathname = `/${name}`;
    return url.href;
  };
  const query = async <Row>(text: string, database = 'postgres') => {
    const client = new Client({ connectionString: urlOf(database) });
    await client.connect();
    try {
      const { rows } = await client.query(text);
      return rows as Row[];
    } finally {
      await client.end();
    }
  };
  const stop = async () => {
    await postgres.stop();
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    for (const [name, wanted] of Object.entries(durable)) {
      const [row] = await query<Record<string, string>>(`show ${name}`);
      if (row?.[name] !== wanted) throw new Error(`${name} is ${row?.[name]}, not ${wanted}: nothing would be durable`);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    async database(name, migrated = false) {
      await query(`create database "${name}"`);
      if (migrated) await migrate(urlOf(name));
      return urlOf(name);
    },
    drop: async (name) => {
      await query(`drop database if exists "${name}" with (force)`);
    },
    query,
    stop,
  };
}
