// reSolve's adapter has one connection: eight of them take turns.
const createAdapter = require('@resolve-js/eventstore-postgresql').default;
const { Pool } = require('pg');

exports.open = async (url) => {
  const { hostname, port, username, password, pathname } = new URL(url);
  const options = {
    host: hostname,
    port: Number(port),
    user: username,
    password,
    database: pathname.slice(1),
    databaseName: 'public',
    eventsTableName: 'events',
  };
  const adapters = Array.from({ length: 8 }, () => createAdapter(options));
  await adapters[0].init();
  const pool = new Pool({ connectionString: url, max: 1 });
  let turn = 0;
  return {
    append: (id, { type, data }) =>
      adapters[turn++ % adapters.length].saveEvent({
        aggregateId: id,
        aggregateVersion: 1,
        type,
        timestamp: Date.now(),
        payload: data,
      }),
    stored: async () => (await pool.query('select count(*)::int as count from events')).rows[0].count,
    async close() {
      for (const adapter of adapters) await adapter.dispose();
      await pool.end();
    },
  };
};
