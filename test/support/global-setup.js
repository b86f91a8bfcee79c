const { mkdtempSync, chmodSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { Client } = require('pg');
// The built output: Jest runs this file outside its own module system, which could not load the sources.
const { startEmbeddedPostgres } = require('../../dist/src/kernel/database/embedded-postgres');
const { migrate } = require('../../dist/src/kernel/database/migrate');

/** One real Postgres for the whole run, with a migrated template that each spec file copies, and both roles. */
module.exports = async () => {
  const directory = mkdtempSync(join(tmpdir(), 'orderloom-test-'));
  chmodSync(directory, 0o755);
  const postgres = await startEmbeddedPostgres({
    directory: join(directory, 'data'),
    settings: { fsync: 'off', full_page_writes: 'off', max_connections: '400' },
  });
  await migrate(postgres.ownerUrl, postgres.appUrl);
  const admin = new URL(postgres.ownerUrl);
  admin.pathname = '/postgres';
  const client = new Client(admin.href);
  await client.connect();
  await client.query('alter database orderloom rename to orderloom_template');
  await client.end();
  process.env.TEST_POSTGRES_URL = admin.href;
  process.env.TEST_APPLICATION_URL = postgres.appUrl;
  globalThis.testPostgres = { postgres, directory };
};
