import { once } from 'node:events';
import { createServer } from 'node:net';
import { type Config, ConfigError, readConfig } from './config/config';
import { help } from './config/help';
import { signingSecret } from './config/signing-secret';
import { DatabaseRoleError, excessivePower } from './kernel/database/application-role';
import { EmbeddedPostgresError, startEmbeddedPostgres } from './kernel/database/embedded-postgres';
import { migrate } from './kernel/database/migrate';

/**
 * Something outside of us is in the way; the message says what to do, and no stack would add to it.
 *
 * @param setting names the URL that was in use
 */
function explain(error: unknown, config?: Config, setting: DatabaseSetting = 'DATABASE_URL'): string | undefined {
  const explained = [ConfigError, EmbeddedPostgresError, DatabaseRoleError];
  if (explained.some((type) => error instanceof type)) return (error as Error).message;
  const { code, message } = error as { code?: string; message?: string };
  if (code === 'EADDRINUSE')
    return `Port ${config?.PORT} is in use: stop what listens there, or choose another one with PORT.`;
  if (code === 'EACCES') return `${message}: choose a PORT above 1023 or another DATA_DIR.`;
  const databaseUrl = config?.[setting];
  if (
    databaseUrl &&
    typeof code === 'string' &&
    /^(ECONN|EHOST|ENET|ENOTFOUND|EPIPE|ETIMEDOUT|EAI_|28|3D|08|42501|57P)/.test(code)
  ) {
    const { host, pathname } = new URL(databaseUrl);
    const advice =
      code === '42501'
        ? 'Set DATABASE_OWNER_URL to the role that owns the tables: it migrates and grants the rights.'
        : `Check ${setting}.`;
    return `Cannot use the database ${pathname.slice(1)} at ${host}: ${message}. ${advice}`;
  }
  return undefined;
}

type DatabaseSetting = 'DATABASE_URL' | 'DATABASE_OWNER_URL';

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help') || args.includes('-h')) return console.log(help());
  const unknown = args.find((arg) => !['--migrate', '--reset-admin-password'].includes(arg));
  if (unknown) throw new ConfigError(`Unknown argument ${unknown}; --help lists what there is.`);

  const config = readConfig(process.env);
  const note = (msg: string, level: 'info' | 'warn' = 'info') => {
    const line = { level, time: new Date().toISOString(), msg };
    const text = level === 'warn' ? `Warning: ${msg}` : msg;
    console.log(config.NODE_ENV === 'production' ? JSON.stringify(line) : text);
  };
  const warn = (msg: string) => note(msg, 'warn');
  let setting: DatabaseSetting = config.DATABASE_OWNER_URL ? 'DATABASE_OWNER_URL' : 'DATABASE_URL';
  const closing: (() => Promise<unknown>)[] = [];
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> =>
    (stopping ??= (async () => {
      for (const close of closing.reverse()) await close();
    })());
  const onSignal = (signal: NodeJS.Signals) => {
    // a terminal and npm each deliver Ctrl-C
    if (!stopping) note(`${signal}: finishing what is in flight`);
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);

  try {
    // first of all: the administrator's password would be shown by a start that then fails
    if (args.length === 0) await assertPortIsFree(config);
    let databaseUrl = config.DATABASE_URL;
    let ownerUrl = config.DATABASE_OWNER_URL ?? databaseUrl;
    if (!databaseUrl || !ownerUrl) {
      const postgres = await startEmbeddedPostgres({ directory: config.DATA_DIR, log: note });
      closing.push(() => postgres.stop());
      databaseUrl = postgres.appUrl;
      ownerUrl = postgres.ownerUrl;
    }
    const ran = await migrate(ownerUrl, databaseUrl);
    setting = 'DATABASE_URL';
    if (ran.length > 0) note(`Database: ${ran.length} migrations applied`);
    if (args.includes('--migrate')) {
      if (ran.length === 0) note('Database: up to date');
      return await stop();
    }
    const excess = await excessivePower(databaseUrl);
    if (excess) warn(excess);

    // Loaded only now: everything above answers, and fails, faster without it.
    const { createApp } = await import('./bootstrap.js');
    const secret = await signingSecret(config, warn);
    const app = await createApp({ config, databaseUrl, secret });
    closing.push(() => app.close());
    // before all else: requests in flight still need the views, the sagas and the database
    closing.push(() => app.getHttpAdapter().close() as Promise<void>);
    if (stopping) return;
    if (args.includes('--reset-admin-password')) {
      await app.init();
      const { CommandBus } = await import('@nestjs/cqrs');
      const { ResetAdministrator } = await import('./modules/users/contracts/reset-password.js');
      const { password } = await app.get(CommandBus).execute(new ResetAdministrator(config.ADMIN_EMAIL));
      note(`Administrator ${config.ADMIN_EMAIL} has the new password ${password} (shown only this once)`);
      return await stop();
    }
    await app.listen(config.PORT, config.HOST);
    const url = (await app.getUrl()).replace('[::1]', 'localhost').replace('0.0.0.0', 'localhost');
    note(`Orderloom listens on ${url}`);
    if (config.DOCS ?? config.NODE_ENV !== 'production') {
      note(`Swagger UI: ${url}/docs - press Authorize and sign in as ${config.ADMIN_EMAIL}`);
      note('Lost the password? Stop Orderloom and run: npm start -- --reset-admin-password');
    }
  } catch (error) {
    const sentence = explain(error, config, setting);
    await stop().catch(() => undefined);
    if (sentence === undefined) throw error;
    throw new ConfigError(sentence);
  }
}

/** @throws Error with the code EADDRINUSE or EACCES */
async function assertPortIsFree({ PORT, HOST }: Config): Promise<void> {
  const probe = createServer();
  probe.listen(PORT, HOST);
  await once(probe, 'listening');
  probe.close();
  await once(probe, 'close');
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(explain(error) ?? error);
  process.exit(1);
});
