import { Pool } from 'pg';
import { v7 } from 'uuid';
import type { Store } from '../load';

/**
 * What one writes without a library: a table of the same columns with a primary key and no further index, a prepared
 * INSERT and its own commit for each event. 32 connections; a lone caller uses one of them.
 */
export async function open(url: string): Promise<Store> {
  const pool = new Pool({ connectionString: url, max: 32, min: 32, idleTimeoutMillis: 0 });
  await pool.query(`create table events (
    position bigint generated always as identity primary key, event_id uuid not null, aggregate_id uuid not null,
    aggregate_type text not null, version integer not null, event_type text not null, schema_version smallint not null,
    payload jsonb not null, metadata jsonb not null, recorded_at timestamptz not null default clock_timestamp())`);
  return {
    append: (id, { type, data }) => {
      const eventId = v7();
      return pool.query({
        name: 'append',
        text: `insert into events (event_id, aggregate_id, aggregate_type, version, event_type, schema_version, payload, metadata)
               values ($1, $2, 'order', 1, $3, 1, $4, $5) returning position`,
        values: [
          eventId,
          id,
          type,
          JSON.stringify(data),
          JSON.stringify({ correlationId: eventId, actor: 'system', commandId: eventId }),
        ],
      });
    },
    async stored() {
      const { rows } = await pool.query<{ count: number }>('select count(*)::int as count from events');
      return rows[0]!.count;
    },
    close: () => pool.end(),
  };
}
