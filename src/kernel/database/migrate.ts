import { join } from 'node:path';
import { DataSource } from 'typeorm';

/**
 * Brings the schemas up to date; a no-op when they are. Processes that start together take turns: TypeORM has no lock
 * of its own, and two runs of one migration fail.
 *
 * @returns names of the migrations that ran
 */
export async function migrate(url: string): Promise<string[]> {
  const migrations = join(__dirname, '../../../migrations/*/*.{js,ts}');
  const source = await new DataSource({ type: 'postgres', url, migrations: [migrations], poolSize: 2 }).initialize();
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
