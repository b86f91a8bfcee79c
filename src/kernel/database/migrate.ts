import { join } from 'node:path';
import { AbstractLogger, DataSource } from 'typeorm';
import { grantApplication } from './grants';

/**
 * As the owner, brings the schemas up to date and the rights of the application's role with them; a no-op when they are.
 * Its connections end with it. Processes that start together take turns: TypeORM has no lock of its own, and two runs of
 * one migration fail.
 *
 * @param appUrl what the application connects with; by default it is the owner
 * @returns names of the migrations that ran
 * @throws DatabaseRoleError when the application's role is missing and the owner may not create it
 */
export async function migrate(ownerUrl: string, appUrl = ownerUrl): Promise<string[]> {
  const ran = await runMigrations(ownerUrl);
  await grantApplication(ownerUrl, appUrl);
  return ran;
}

async function runMigrations(url: string): Promise<string[]> {
  const migrations = join(__dirname, '../../../migrations/*/*.{js,ts}');
  const logger = new Silent();
  const source = await new DataSource({
    type: 'postgres',
    url,
    migrations: [migrations],
    poolSize: 2,
    logger,
  }).initialize();
  const lock = source.createQueryRunner();
  try {
    await lock.query(`select pg_advisory_lock(hashtextextended('orderloom.migrations', 0))`);
    const ran = await source.runMigrations({ transaction: 'each' });
    return ran.map((migration) => migration.name);
  } finally {
    // the session ends here, and with it the lock
    await lock.release();
    await source.destroy();
  }
}

/** What fails is thrown, and said once; TypeORM would print it a first time. */
class Silent extends AbstractLogger {
  protected override writeLog(): void {}
}
