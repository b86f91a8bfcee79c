import { excessivePower } from './kernel/database/application-role';
import { type EmbeddedPostgresOptions, startEmbeddedPostgres } from './kernel/database/embedded-postgres';
import { migrate } from './kernel/database/migrate';
import { assertSuitable } from './kernel/database/suitable';
import type { Lifetime } from './lifetime';

export interface OpenDatabase {
  /** For the application. */
  readonly url: string;
  readonly ownerUrl: string;
  /** How many migrations were applied. */
  readonly applied: number;
}

/**
 * The configured database or, without one, the embedded Postgres, which ends with the process; migrated.
 *
 * @param embeddedOptions for that Postgres
 */
export async function openDatabase(
  lifetime: Lifetime,
  embeddedOptions: Pick<EmbeddedPostgresOptions, 'settings' | 'join'> = {},
): Promise<OpenDatabase> {
  const { config, shutdown, note } = lifetime;
  let { DATABASE_URL: url } = config;
  let ownerUrl = config.DATABASE_OWNER_URL ?? url;
  if (url && ownerUrl) {
    const setting = config.DATABASE_OWNER_URL ? 'DATABASE_OWNER_URL' : 'DATABASE_URL';
    lifetime.database = { url: ownerUrl, setting };
    await assertSuitable(ownerUrl, setting);
  } else {
    const { DATA_DIR: directory } = config;
    const options = { directory, log: note, signal: lifetime.interrupted };
    const embedded = startEmbeddedPostgres({ ...options, ...embeddedOptions });
    shutdown.add(
      () => 'the embedded Postgres',
      async () => (await embedded.catch(() => undefined))?.stop(),
    );
    const postgres = await embedded;
    void postgres.gone.then((reason) => {
      lifetime.lines.say(reason, 'error');
      lifetime.end(1);
    });
    url = postgres.appUrl;
    ownerUrl = postgres.ownerUrl;
  }
  const { length: applied } = await migrate(ownerUrl, url);
  if (lifetime.database) lifetime.database = { url, setting: 'DATABASE_URL' };
  if (applied > 0) note(`Database: ${applied} migrations applied`);
  return { url, ownerUrl, applied };
}

/** Finds out what would be in the way of the application, and warns of rights that it does not need. */
export async function assertServes({ database, lines }: Lifetime, { url, ownerUrl }: OpenDatabase): Promise<void> {
  if (database && url !== ownerUrl) await assertSuitable(database.url, database.setting);
  const excess = await excessivePower(url);
  if (excess) lines.say(excess, 'warn');
}
