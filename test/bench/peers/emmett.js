// Emmett as its documentation sets it up, with a pool of 32 connections (its default is pg's 10).
const { STREAM_DOES_NOT_EXIST } = require('@event-driven-io/emmett');
const { getPostgreSQLEventStore } = require('@event-driven-io/emmett-postgresql');
const { Pool } = require('pg');

exports.open = async (url) => {
  const pool = new Pool({ connectionString: url, max: 32 });
  const store = getPostgreSQLEventStore(url, { connectionOptions: { pool } });
  await store.schema.migrate();
  return {
    append: (id, event) =>
      store.appendToStream(`order-${id}`, [event], { expectedStreamVersion: STREAM_DOES_NOT_EXIST }),
    stored: async () => (await pool.query('select count(*)::int as count from emt_messages')).rows[0].count,
    async close() {
      await store.close();
      await pool.end();
    },
  };
};
