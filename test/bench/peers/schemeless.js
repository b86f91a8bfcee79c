const { PgEventStoreAdapter } = require('@schemeless/event-store-adapter-pg');
const { Pool } = require('pg');

exports.open = async (url) => {
  const store = new PgEventStoreAdapter({ connectionString: url, max: 32 });
  await store.init();
  const pool = new Pool({ connectionString: url, max: 1 });
  return {
    append: (id, { type, data }) =>
      store.appendToStream(
        [{ domain: 'order', identifier: id, type, payload: data, meta: {}, created: new Date() }],
        0,
      ),
    stored: async () => (await pool.query('select count(*)::int as count from event_store_entity')).rows[0].count,
    async close() {
      await store.close();
      await pool.end();
    },
  };
};
