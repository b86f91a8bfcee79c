import { once } from 'node:events';
import { createServer } from 'node:net';
import { type Config, ConfigError, logFormatOf, readConfig } from './config/config';
import { help } from './config/help';
import { signingSecret } from './config/signing-secret';
import { unknownSettings } from './config/unknown-settings';
import { excessivePower } from './kernel/database/application-role';
import { startEmbeddedPostgres } from './kernel/database/embedded-postgres';
import { migrate } from './kernel/database/migrate';
import { assertSuitable } from './kernel/database/suitable';
import { Lines } from './lines';
import { type DatabaseInUse, obstacleOf } from './obstacles';
import { Shutdown } from './shutdown';

/** As the environment has it: what is wrong with the configuration is said in the same form. */
const lines = new Lines(logFormatOf(process.env) === 'json');

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help') || args.includes('-h')) return console.log(help());
  const unknown = args.find((arg) => !['--migrate', '--reset-admin-password'].includes(arg));
  if (unknown) throw new ConfigError(`Unknown argument ${unknown}; --help lists what there is.`);

  const note = (msg: string) => lines.say(msg);
  const warn = (msg: string) => lines.say(msg, 'warn');
  unknownSettings(process.env).forEach((sentence) => warn(sentence));
  const resetting = args.includes('--reset-admin-password');
  const config = readConfig(resetting ? { ...process.env, ADMIN_PASSWORD: undefined } : process.env);
  let database: DatabaseInUse | undefined;
  const shutdown = new Shutdown(config.SHUTDOWN_TIMEOUT);
  const starting = new AbortController();
  const end = (code: number) => {
    starting.abort();
    shutdown.begin().then(
      () => process.exit(code),
      (error: unknown) => fail(error, config),
    );
  };
  const onSignal = (signal: NodeJS.Signals) => {
    // a terminal and npm each deliver Ctrl-C
    if (!shutdown.begun) note(`${signal}: finishing what is in flight`);
    end(0);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);

  try {
    // first of all: the administrator's password would be shown by a start that then fails
    if (args.length === 0) await assertPortIsFree(config);
    let { DATABASE_URL: databaseUrl } = config;
    let ownerUrl = config.DATABASE_OWNER_URL ?? databaseUrl;
    if (databaseUrl && ownerUrl) {
      database = { url: ownerUrl, setting: config.DATABASE_OWNER_URL ? 'DATABASE_OWNER_URL' : 'DATABASE_URL' };
      await assertSuitable(database.url, database.setting);
    } else {
      const embedded = startEmbeddedPostgres({
        directory: config.DATA_DIR,
        log: note,
        // an administrator who has lost the password need not stop the server for it
        join: resetting,
        signal: starting.signal,
      });
      shutdown.add(
        () => 'the embedded Postgres',
        async () => (await embedded.catch(() => undefined))?.stop(),
      );
      const postgres = await embedded;
      void postgres.gone.then((reason) => {
        lines.say(reason, 'error');
        end(1);
      });
      databaseUrl = postgres.appUrl;
      ownerUrl = postgres.ownerUrl;
    }
    const ran = await migrate(ownerUrl, databaseUrl);
    if (database) database = { url: databaseUrl, setting: 'DATABASE_URL' };
    if (ran.length > 0) note(`Database: ${ran.length} migrations applied`);
    if (args.includes('--migrate')) {
      if (ran.length === 0) note('Database: up to date');
      return await shutdown.begin();
    }
    if (database && databaseUrl !== ownerUrl) await assertSuitable(database.url, database.setting);
    const excess = await excessivePower(databaseUrl);
    if (excess) warn(excess);

    if (config.OTEL_EXPORTER_OTLP_ENDPOINT && process.env['OTEL_SDK_DISABLED'] !== 'true') {
      const { startTracing } = await import('./tracing.js');
      const tracing = startTracing(config, warn);
      shutdown.add(
        () => 'the export of spans',
        () => tracing.stop(),
      );
    }
    // Loaded only now: everything above answers, and fails, faster without it.
    const { createApp } = await import('./bootstrap.js');
    const secret = await signingSecret(config, warn);
    const app = await createApp({ config, databaseUrl, secret });
    const { Subscriptions } = await import('./kernel/subscriptions/subscriptions.js');
    const busy = () => {
      const names = app.get(Subscriptions, { strict: false }).work();
      return [...new Set(names.flatMap(({ name, owned }) => (owned ? [name] : [])))].join(', ');
    };
    shutdown.add(
      () => `the application (subscriptions that still run: ${busy() || 'none'})`,
      () => app.close(),
    );
    // before all else: requests in flight still need the views, the sagas and the database
    shutdown.add(
      () => 'requests in flight',
      () => app.getHttpAdapter().close() as Promise<void>,
    );
    if (shutdown.begun) return;
    if (resetting) {
      await app.init();
      const { CommandBus } = await import('@nestjs/cqrs');
      const { ResetAdministrator } = await import('./modules/users/contracts/reset-password.js');
      const { password } = await app.get(CommandBus).execute(new ResetAdministrator(config.ADMIN_EMAIL));
      note(`Administrator ${config.ADMIN_EMAIL} has the new password ${password} (shown only this once)`);
      return await shutdown.begin();
    }
    await app.listen(config.PORT, config.HOST);
    const url = (await app.getUrl()).replace('[::1]', 'localhost').replace('0.0.0.0', 'localhost');
    note(`Orderloom listens on ${url}`);
    if (config.DOCS ?? config.NODE_ENV !== 'production') {
      note(`Swagger UI: ${url}/docs - press Authorize and sign in as ${config.ADMIN_EMAIL}`);
      note('Lost the password? Run npm run admin:reset-password in another terminal.');
    }
  } catch (error) {
    // what was interrupted by a signal is no failure: the signal's handler ends the process
    if (shutdown.begun) return;
    await shutdown.begin().catch(() => undefined);
    fail(error, config, database);
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

function fail(error: unknown, config?: Config, database?: DatabaseInUse): never {
  const sentence = obstacleOf(error, config, database);
  if (sentence === undefined) lines.report(error);
  else lines.say(sentence, 'error');
  process.exit(1);
}

lines.speakForNode();
main(process.argv.slice(2)).catch((error: unknown) => fail(error));
