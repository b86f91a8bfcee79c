import { setTimeout as delay } from 'node:timers/promises';
import { AbstractLogger, DataSource, type MigrationInterface, type QueryRunner } from 'typeorm';
import { migrations as listed } from '../../../migrations';
import { grantApplication } from './grants';
import { LocatedClient } from './located-client';
import { adoptMigrations, appliedMigrations, createMigrationsTable } from './migrations-table';

type Migration = new () => MigrationInterface;

/** The database cannot be migrated as it is. The message is one sentence that says what to do. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
}

/** How long a migration waits for a lock. Whoever asks for the same table meanwhile waits behind it. */
const lockTimeout = '2s';
const attempts = 15;
const pauseMs = 1000;

/**
 * As the owner, brings the schemas up to date and the rights of the application's role with them; a no-op when they are.
 * Its connections end with it. Processes that start together take turns. All that is pending is applied in one
 * transaction, so a start that fails leaves the database as it was.
 *
 * @param appUrl what the application connects with; by default it is the owner
 * @param migrations all of them, in the order in which they run
 * @returns names of the migrations that ran
 * @throws MigrationError when the database is newer than this program, or has no room for its schemas
 * @throws DatabaseRoleError when the application's role is missing and the owner may not create it
 */
export async function migrate(
  ownerUrl: string,
  appUrl = ownerUrl,
  migrations: readonly Migration[] = listed,
): Promise<string[]> {
  const ran = await runMigrations(ownerUrl, migrations);
  await grantApplication(ownerUrl, appUrl);
  return ran;
}

async function runMigrations(url: string, migrations: readonly Migration[]): Promise<string[]> {
  const source = await new DataSource({
    type: 'postgres',
    poolSize: 1,
    applicationName: 'orderloom/migrations',
    connectTimeoutMS: 10_000,
    logger: new Silent(),
    extra: { Client: LocatedClient, connectionString: url },
  }).initialize();
  try {
    for (let attempt = 1; ; attempt++) {
      const db = source.createQueryRunner();
      try {
        // with READ COMMITTED, what is read after waiting for the lock is what the one before has left
        await db.startTransaction('READ COMMITTED');
        const ran = await runPending(db, migrations);
        await db.commitTransaction();
        return ran;
      } catch (error) {
        await db.rollbackTransaction().catch(() => undefined);
        if (attempt === attempts || !isTaken(error)) throw explained(error);
      } finally {
        await db.release();
      }
      await delay(pauseMs);
    }
  } finally {
    await source.destroy();
  }
}

async function runPending(db: QueryRunner, migrations: readonly Migration[]): Promise<string[]> {
  // for as long as the one before needs, whatever limits the server has
  await db.query('set local lock_timeout = 0; set local statement_timeout = 0');
  await db.query(`select pg_advisory_xact_lock(hashtextextended('orderloom.migrations', 0))`);
  const known = migrations.map(({ name }) => name);
  const applied = await appliedMigrations(db);
  const unknown = applied?.filter((name) => !known.includes(name)) ?? [];
  if (unknown.length > 0) {
    throw new MigrationError(
      `The database is newer than this program, which does not know its migrations ${unknown.join(', ')}: ` +
        'start the version of Orderloom that applied them, or a later one.',
    );
  }
  if (applied?.length === known.length) return [];
  await db.query(`set local lock_timeout = '${lockTimeout}'`);
  if (!applied) {
    await assertMayCreate(db);
    await createMigrationsTable(db);
  }
  const before = applied ?? (await adoptMigrations(db, known));
  const pending = migrations.filter(({ name }) => !before.includes(name));
  for (const Pending of pending) {
    await new Pending().up(db);
    await db.query('insert into orderloom.migrations (name) values ($1)', [Pending.name]);
  }
  return pending.map(({ name }) => name);
}

async function assertMayCreate(db: QueryRunner): Promise<void> {
  const [found] = (await db.query(
    `select has_database_privilege(current_database(), 'CREATE') as may, current_database() as database,
            quote_ident(current_database()) as quoted, quote_ident(current_user) as role`,
  )) as { may: boolean; database: string; quoted: string; role: string }[];
  if (!found || found.may) return;
  throw new MigrationError(
    `The role ${found.role} may not create schemas in the database ${found.database}: ` +
      `run GRANT CREATE ON DATABASE ${found.quoted} TO ${found.role} as an administrator, ` +
      'or set DATABASE_OWNER_URL to the role that owns the tables.',
  );
}

/** lock_not_available and deadlock_detected: somebody else uses what a migration changes. */
function isTaken(error: unknown): boolean {
  return ['55P03', '40P01'].includes(String((error as { code?: unknown }).code));
}

/** duplicate_schema, duplicate_table and the like: what a migration creates is there without us having created it. */
function explained(error: unknown): unknown {
  const { code, message } = error as { code?: unknown; message?: string };
  if (!['42P06', '42P07', '42723', '42710'].includes(String(code))) return error;
  return new MigrationError(
    `The database has something of another application where Orderloom keeps its own (${message}): ` +
      'give Orderloom a database of its own, or rename what is in its way. Nothing was changed.',
    { cause: error },
  );
}

/** What fails is thrown, and said once; TypeORM would print it a first time. */
class Silent extends AbstractLogger {
  protected override writeLog(): void {}
}
