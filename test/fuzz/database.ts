import { Client } from 'pg';
import type { LoggedEvent, TableChange } from './oracles';

/** How all tables stood at a moment. */
export interface Mark {
  readonly transaction: string;
  readonly counts: ReadonlyMap<string, number>;
}

/** SQLSTATE. */
const undefinedTable = '42P01';

/** The database of the app that is fuzzed, all of its tables whatever they are called. Reads only. */
export class AppDatabase {
  private tables: string[] = [];
  private seen = 0;

  private constructor(private readonly client: Client) {}

  static async open(url: string): Promise<AppDatabase> {
    const client = new Client({ connectionString: url, application_name: 'fuzz-test' });
    client.on('error', () => undefined);
    await client.connect();
    const database = new AppDatabase(client);
    await database.findTables();
    return database;
  }

  close(): Promise<void> {
    return this.client.end();
  }

  async mark(): Promise<Mark> {
    await this.findTables();
    const { rows } = await this.client.query<{ id: string }>(`select pg_current_xact_id()::xid::text as id`);
    return {
      transaction: rows[0]!.id,
      counts: new Map((await this.look('0')).map(({ name, count }) => [name, count])),
    };
  }

  /** What transactions since then have written and deleted: each row knows the one that wrote it. */
  async changesSince({ transaction, counts }: Mark): Promise<TableChange[]> {
    const now = await this.look(transaction);
    return now.flatMap(({ name: table, count, written }) => {
      const grown = count - (counts.get(table) ?? 0);
      if (grown === 0 && written === null) return [];
      const rows = written === null ? '' : `, written: ${written.slice(0, 1000)}`;
      return [{ table, detail: `${grown} rows more${rows}` }];
    });
  }

  /** Events appended since the last call. */
  async news(): Promise<LoggedEvent[]> {
    const { rows } = await this.client.query<LoggedEvent>(
      `select position::float8 as position, event_type as "eventType", metadata ->> 'correlationId' as "correlationId"
       from event_store.events where position > $1 order by position`,
      [this.seen],
    );
    this.seen = rows.at(-1)?.position ?? this.seen;
    return rows;
  }

  /** Whether nothing is left to do: no saga under way but those that wait for a person. */
  async sagasUnderWay(): Promise<number> {
    const { rows } = await this.client.query<{ count: number }>(
      `select count(*)::int as count from sagas.instances where status in ('running', 'compensating')`,
    );
    return rows[0]!.count;
  }

  async describe(): Promise<string> {
    const { rows } = await this.client.query<{ text: string }>(
      `select format('%s events, %s orders, %s fulfilled, %s accounts', (select count(*) from event_store.events),
                (select count(*) from event_store.events where event_type = 'order.created'),
                (select count(*) from event_store.events where event_type = 'saga.completed'),
                (select count(*) from users.users)) as text`,
    );
    return rows[0]!.text;
  }

  private async findTables(): Promise<void> {
    const { rows } = await this.client.query<{ name: string }>(
      `select format('%I.%I', table_schema, table_name) as name from information_schema.tables
       where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema') order by 1`,
    );
    this.tables = rows.map(({ name }) => name);
    if (this.tables.length === 0) throw new Error('The database has no tables');
  }

  private async look(transaction: string): Promise<{ name: string; count: number; written: string | null }[]> {
    const parts = this.tables.map(
      (name) => `select '${name}' as name, count(*)::int as count,
        left(string_agg(left(t::text, 300), '; ') filter (where $1 <> '0' and age(xmin) <= age($1::xid)), 2000) as written
        from ${name} t`,
    );
    try {
      const { rows } = await this.client.query<{ name: string; count: number; written: string | null }>(
        parts.join(' union all '),
        [transaction],
      );
      return rows;
    } catch (error) {
      if ((error as { code?: string }).code !== undefinedTable) throw error;
      // a rebuild has ended meanwhile, and its table with it
      await this.findTables();
      return this.look(transaction);
    }
  }
}
