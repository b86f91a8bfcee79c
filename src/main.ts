import { ConfigError, logFormatOf, readConfig } from './config/config';
import { help } from './config/help';
import { unknownSettings } from './config/unknown-settings';
import { assertPortIsFree, fail, Lifetime } from './lifetime';
import { Lines } from './lines';
import { openApp, sayWhere } from './open-app';
import { assertServes, openDatabase } from './open-database';

/** As the environment has it: what is wrong with the configuration is said in the same form. */
const lines = new Lines(logFormatOf(process.env) === 'json');

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help') || args.includes('-h')) return console.log(help());
  const unknown = args.find((arg) => !['--migrate', '--reset-admin-password'].includes(arg));
  if (unknown) throw new ConfigError(`Unknown argument ${unknown}; --help lists what there is.`);

  if (args.length > 1)
    throw new ConfigError(`One argument at a time; --help lists what there is. It got: ${args.join(' ')}`);
  for (const sentence of unknownSettings(process.env)) lines.say(sentence, 'warn');
  const resetting = args.includes('--reset-admin-password');
  const config = readConfig(resetting ? { ...process.env, ADMIN_PASSWORD: undefined } : process.env);
  const lifetime = new Lifetime(config, lines);
  const { note, shutdown } = lifetime;
  await lifetime.run(async () => {
    // first of all: the administrator's password would be shown by a start that then fails
    if (args.length === 0) await assertPortIsFree(config);
    // an administrator who has lost the password need not stop the server for it
    const database = await openDatabase(lifetime, { join: resetting });
    if (args.includes('--migrate')) {
      if (database.applied === 0) note('Database: up to date');
      return await shutdown.begin();
    }
    await assertServes(lifetime, database);
    const app = await openApp(lifetime, database.url);
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
    sayWhere(lifetime, await app.getUrl());
  });
}

lines.speakForNode();
main(process.argv.slice(2)).catch((error: unknown) => fail(error, lines));
