const { createProvider, migrate } = require('evtstore/provider/pg');
const { Pool } = require('pg');

exports.open = async (url) => {
  const client = new Pool({ connectionString: url, max: 32 });
  const names = { events: 'events', bookmarks: 'bookmarks' };
  await migrate({ client, ...names });
  const provider = createProvider({ client, ...names });
  return {
    append: (id, { type, data }) =>
      provider.append('orders', id, 0, [
        { stream: 'orders', aggregateId: id, version: 1, position: 0, timestamp: new Date(), event: { type, ...data } },
      ]),
    stored: async () => (await client.query('select count(*)::int as count from events')).rows[0].count,
    close: () => client.end(),
  };
};
