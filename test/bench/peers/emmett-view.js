// The same view in Emmett, in the two ways that its documentation has for it: documents folded one by one by Pongo, and
// SQL of one's own for each event of a batch. Batches of 1,000 in place of its 100, which helps it.
const { SQL, identifier } = require('@event-driven-io/dumbo');
const {
  getPostgreSQLEventStore,
  pongoSingleStreamProjection,
  postgreSQLRawBatchSQLProjection,
} = require('@event-driven-io/emmett-postgresql');
const { Pool } = require('pg');
const { orderLog } = require('../order-log.ts');

const canHandle = ['order.created', 'order.line-added', 'order.submitted', 'order.paid'];

function evolve(row, { type, data, metadata }) {
  const version = Number(metadata.streamPosition);
  switch (type) {
    case 'order.created':
      return {
        customerId: data.customerId,
        reference: data.reference,
        status: 'draft',
        lineCount: 0,
        totalMinor: 0,
        currency: data.currency,
        version,
      };
    case 'order.line-added':
      return {
        ...row,
        version,
        lineCount: row.lineCount + 1,
        totalMinor: row.totalMinor + data.quantity * data.unitPrice.amountMinor,
      };
    case 'order.submitted':
      return { ...row, version, status: 'submitted' };
    default:
      return { ...row, version, status: 'paid' };
  }
}

function statement(table, { type, data, metadata }) {
  const { streamName: id, streamPosition } = metadata;
  const version = Number(streamPosition);
  switch (type) {
    case 'order.created':
      return SQL`insert into ${identifier(table)} values (${id}, ${data.customerId}, ${data.reference}, 'draft', 0, 0,
                 ${data.currency}, ${version}, now(), now())`;
    case 'order.line-added':
      return SQL`update ${identifier(table)} set line_count = line_count + 1, version = ${version}, updated_at = now(),
                 total_minor = total_minor + ${data.quantity * data.unitPrice.amountMinor} where id = ${id}`;
    default: {
      const status = type.slice('order.'.length);
      return SQL`update ${identifier(table)} set status = ${status}, version = ${version}, updated_at = now() where id = ${id}`;
    }
  }
}

exports.open = async (url) => {
  const pool = new Pool({ connectionString: url, max: 32 });
  const store = getPostgreSQLEventStore(url, { connectionOptions: { pool } });
  await store.schema.migrate();
  let round = 0;
  let sums = '';

  const consume = async (projection) => {
    const consumer = store.consumer({ pulling: { batchSize: 1000 }, stopWhen: { noMessagesLeft: true } });
    consumer.projector({ projection, startFrom: 'BEGINNING', connectionOptions: { connectionString: url, pool } });
    const begun = performance.now();
    await consumer.start();
    const ms = performance.now() - begun;
    await consumer.close();
    return ms;
  };

  return {
    async fill(events) {
      await pool.query(`
        insert into emt_messages (stream_id, stream_position, partition, message_kind, message_data, message_metadata,
                                  message_schema_version, message_type, message_id, transaction_id)
        select 'order-' || l.id, l.version, 'emt:default', 'E', l.data, '{}', '1', l.type, gen_random_uuid(), pg_current_xact_id()
        from (${orderLog(events)}) l order by l.n`);
      await pool.query('vacuum analyze emt_messages');
    },
    /** Each time into a collection of its own. @returns ms */
    async documents() {
      const collectionName = `documents_${++round}`;
      sums = `select count(*) filter (where data ->> 'status' = 'paid' and data ->> 'lineCount' = '2')::int as paid,
                     sum((data ->> 'totalMinor')::bigint)::float8 as "totalMinor" from ${collectionName}`;
      return consume(pongoSingleStreamProjection({ collectionName, canHandle, evolve }));
    },
    async statements() {
      const table = `rows_${++round}`;
      await pool.query(`create table ${table} (
        id text primary key, customer_id uuid not null, reference text not null, status text not null,
        line_count integer not null, total_minor bigint not null, currency text not null, version integer not null,
        created_at timestamptz not null, updated_at timestamptz not null)`);
      sums = `select count(*) filter (where status = 'paid' and line_count = 2)::int as paid,
                     sum(total_minor)::float8 as "totalMinor" from ${table}`;
      return consume(
        postgreSQLRawBatchSQLProjection({
          name: table,
          canHandle,
          evolve: (events) => events.map((event) => statement(table, event)),
        }),
      );
    },
    view: async () => (await pool.query(sums)).rows[0],
    async close() {
      await store.close();
      await pool.end();
    },
  };
};
