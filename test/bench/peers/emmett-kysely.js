// Another store for Emmett. It leaves its tables to the user: these have the columns and keys that its code relies on.
const { STREAM_DOES_NOT_EXIST } = require('@event-driven-io/emmett');
const { getKyselyEventStore } = require('@wataruoguchi/emmett-event-store-kysely');
const { Kysely, PostgresDialect } = require('kysely');
const { Pool } = require('pg');

const tables = `
  create table streams (
    stream_id text not null, stream_position bigint not null default 0, partition text not null,
    stream_type text not null, stream_metadata jsonb not null, is_archived boolean not null default false,
    primary key (stream_id, partition, is_archived), unique (stream_id, partition, is_archived));
  create table messages (
    stream_id text not null, stream_position bigint not null, partition text not null, message_data jsonb not null,
    message_metadata jsonb not null, message_schema_version text not null, message_type text not null,
    message_kind text not null, message_id text not null, is_archived boolean not null default false,
    global_position bigserial, created timestamptz not null default now(),
    primary key (stream_id, stream_position, partition, is_archived));
  create index on messages (global_position);`;

exports.open = async (url) => {
  const pool = new Pool({ connectionString: url, max: 32 });
  await pool.query(tables);
  const logger = { info() {}, error() {} };
  const store = getKyselyEventStore({ db: new Kysely({ dialect: new PostgresDialect({ pool }) }), logger });
  return {
    append: (id, event) =>
      store.appendToStream(`order-${id}`, [event], {
        expectedStreamVersion: STREAM_DOES_NOT_EXIST,
        streamType: 'order',
      }),
    stored: async () => (await pool.query('select count(*)::int as count from messages')).rows[0].count,
    close: () => pool.end(),
  };
};
