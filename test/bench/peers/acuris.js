const { ConnectFromPool, PgEventSource } = require('@acuris/eventstore-postgresql');
const { Pool } = require('pg');

exports.open = async (url) => {
  const source = new PgEventSource(new ConnectFromPool({ connectionString: url, max: 32 }), 'store');
  await source.manageSchema.create();
  const pool = new Pool({ connectionString: url, max: 1 });
  const writer = source.streamWriter;
  return {
    append: (id, { type, data }) => writer.write({ category: 'order', id }, [{ type, data, metadata: {} }], -1),
    stored: async () => (await pool.query('select count(*)::int as count from store.event')).rows[0].count,
    async close() {
      await source.close();
      await pool.end();
    },
  };
};
