// Castore's adapter takes a connection string; 32 connections are asked for in it (the default of postgres.js is 10).
const { PostgresEventStorageAdapter } = require('@castore/event-storage-adapter-postgres');
const postgres = require('postgres');

exports.open = async (url) => {
  const connectionString = `${url}?max=32`;
  await PostgresEventStorageAdapter.createEventTable({ connectionString });
  const adapter = new PostgresEventStorageAdapter({ connectionString });
  const sql = postgres(url, { max: 1 });
  return {
    append: (id, { type, data }) =>
      adapter.pushEvent({ aggregateId: id, version: 1, type, payload: data }, { eventStoreId: 'order' }),
    stored: async () => (await sql`select count(*)::int as count from event`)[0].count,
    close: () => sql.end(),
  };
};
