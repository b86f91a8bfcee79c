import { type Config, ConfigError, readConfig } from './config/config';
import { help } from './config/help';
import { signingSecret } from './config/signing-secret';
import { EmbeddedPostgresError, startEmbeddedPostgres } from './kernel/database/embedded-postgres';
import { migrate } from './kernel/database/migrate';

/** Something outside of us is in the way; the message says what to do, and no stack would add to it. */
function explain(error: unknown, config?: Config): string | undefined {
  if (error instanceof ConfigError || error instanceof EmbeddedPostgresError) return error.message;
  const { code, message } = error as { code?: string; message?: string };
  if (code === 'EADDRINUSE')
    return `Port ${config?.PORT} is in use: stop what listens there, or choose another one with PORT.`;
  if (code === 'EACCES') return `${message}: choose a PORT above 1023 or another DATA_DIR.`;
  if (config?.DATABASE_URL && typeof code === 'string' && /^(E|28|3D|08|57P)/.test(code)) {
    const { host, pathname } = new URL(config.DATABASE_URL);
    return `Cannot use the database ${pathname.slice(1)} at ${host}: ${message}. Check DATABASE_URL.`;
  }
  return undefined;
}

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help') || args.includes('-h')) return console.log(help());
  const unknown = args.find((arg) => !['--migrate', '--reset-admin-password'].includes(arg));
  if (unknown) throw new ConfigError(`Unknown argument ${unknown}; --help lists what there is.`);

  const config = readConfig(process.env);
  const note = (msg: string) => {
    const line = { level: 'info', time: new Date().toISOString(), msg };
    console.log(config.NODE_ENV === 'production' ? JSON.stringify(line) : msg);
  };
  const closing: (() => Promise<unknown>)[] = [];
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> =>
    (stopping ??= (async () => {
      for (const close of closing.reverse()) await close();
    })());
  const onSignal = (signal: NodeJS.Signals) => {
    note(`${signal}: finishing what is in flight`);
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
    let databaseUrl = config.DATABASE_URL;
    if (!databaseUrl) {
      const postgres = await startEmbeddedPostgres({ directory: config.DATA_DIR, log: note });
      closing.push(() => postgres.stop());
      databaseUrl = postgres.url;
    }
    const ran = await migrate(databaseUrl);
    if (ran.length > 0) note(`Database: ${ran.length} migrations applied`);
    if (args.includes('--migrate')) {
      if (ran.length === 0) note('Database: up to date');
      return await stop();
    }

    // Loaded only now: everything above answers, and fails, faster without it.
    const { createApp } = await import('./bootstrap.js');
    const secret = await signingSecret(config);
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
    }
  } catch (error) {
    const sentence = explain(error, config);
    await stop().catch(() => undefined);
    if (sentence === undefined) throw error;
    throw new ConfigError(sentence);
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(explain(error) ?? error);
  process.exit(1);
});
