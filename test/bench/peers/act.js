const { PostgresStore } = require('@rotorsoft/act-pg');
const { Pool } = require('pg');

exports.open = async (url) => {
  const { hostname, port, username, password, pathname } = new URL(url);
  const connection = { host: hostname, port: Number(port), user: username, password, database: pathname.slice(1) };
  const store = new PostgresStore({ ...connection, max: 32 });
  await store.seed();
  const pool = new Pool({ connectionString: url, max: 1 });
  return {
    append: (id, { type, data }) =>
      store.commit(`order-${id}`, [{ name: type, data }], { correlation: id, causation: {} }, -1),
    stored: async () => (await pool.query('select count(*)::int as count from events')).rows[0].count,
    async close() {
      await store.dispose();
      await pool.end();
    },
  };
};
