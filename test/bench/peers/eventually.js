// The predecessor of Act. It reads its connection from the environment, and gives the pool no other size than pg's 10.
exports.open = async (url) => {
  const { hostname, port, username, password, pathname } = new URL(url);
  Object.assign(process.env, {
    PG_HOST: hostname,
    PG_PORT: port,
    PG_USER: username,
    PG_PASSWORD: password,
    PG_DATABASE: pathname.slice(1),
    LOG_LEVEL: 'error',
  });
  const { PostgresStore } = require('@rotorsoft/eventually-pg');
  const { Pool } = require('pg');
  const store = PostgresStore('events');
  await store.seed();
  const pool = new Pool({ connectionString: url, max: 1 });
  return {
    append: (id, { type, data }) =>
      store.commit(`order-${id}`, [{ name: type, data }], { correlation: id, causation: {} }),
    stored: async () => (await pool.query('select count(*)::int as count from events')).rows[0].count,
    async close() {
      await store.dispose();
      await pool.end();
    },
  };
};
