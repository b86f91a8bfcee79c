import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { grantApplication } from '../../src/kernel/database/grants';

export interface TestDatabase {
  /** As the owner: for tests that look into tables, change them, or end sessions. */
  readonly url: string;
  /** As the role that the application has. */
  readonly appUrl: string;
  drop(): Promise<void>;
}

/** A database of one's own, with all schemas and nothing in them, on the real Postgres of this run. */
export async function createDatabase(): Promise<TestDatabase> {
  const adminUrl = process.env['TEST_POSTGRES_URL'];
  if (!adminUrl) throw new Error('Run the tests with Jest: its global setup starts Postgres');
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await administer(adminUrl, `create database ${name} template orderloom_template strategy file_copy`);
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  const appUrl = await grantedUrl(url.href);
  return { url: url.href, appUrl, drop: () => administer(adminUrl, `drop database if exists ${name} with (force)`) };
}

/** The same database as the application's role, with rights on all that the owner has made there so far. */
export async function grantedUrl(ownerUrl: string): Promise<string> {
  const url = new URL(process.env['TEST_APPLICATION_URL']!);
  const { host, pathname } = new URL(ownerUrl);
  Object.assign(url, { host, pathname });
  await grantApplication(ownerUrl, url.href);
  return url.href;
}

async function administer(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
