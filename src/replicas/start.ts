import { logFormatOf, readConfig } from '../config/config';
import { signingSecret } from '../config/signing-secret';
import { unknownSettings } from '../config/unknown-settings';
import { assertPortIsFree, fail, Lifetime } from '../lifetime';
import { Lines } from '../lines';
import { sayWhere } from '../open-app';
import { assertServes, openDatabase } from '../open-database';
import { help, readArguments } from './arguments';
import { loopback } from './backend';
import { Balancer } from './balancer';
import { checkConnections, connectionsOf, serverConnections } from './connections';
import { Replica } from './replica';

/** For a replica to be found not ready and to answer what it was sent until then, in seconds. */
const drainSeconds = 2;

/** The replicas say themselves what they have not finished, before the supervisor says that they have not. */
const graceSeconds = 5;

const lines = new Lines(logFormatOf(process.env) === 'json');

/** Several processes of the application over one database, behind a load balancer: `npm run start:replicas -- 3`. */
async function main(args: readonly string[]): Promise<void> {
  const count = readArguments(args);
  if (count === undefined) return console.log(help);
  for (const sentence of unknownSettings(process.env)) lines.say(sentence, 'warn');
  const config = readConfig(process.env);
  const limitSeconds = config.SHUTDOWN_TIMEOUT + graceSeconds;
  const lifetime = new Lifetime(config, lines, { limitSeconds, delaySeconds: 0 });
  const { note, shutdown } = lifetime;
  await lifetime.run(async () => {
    await assertPortIsFree(config);
    note(`Starting ${count} replicas`);
    const connections = connectionsOf(count, config);
    const settings = { max_connections: String(serverConnections(connections)) };
    const database = await openDatabase(lifetime, { settings });
    await assertServes(lifetime, database);
    await checkConnections(database.url, connections, lines);

    const env: NodeJS.ProcessEnv = {
      ...process.env,
      DATABASE_URL: process.env['DATABASE_URL'] || database.url,
      DATABASE_OWNER_URL: '',
      JWT_SECRET: await signingSecret(config, (line) => lines.say(line, 'warn')),
      DEMO_DATA: String(config.DEMO_DATA ?? !config.DATABASE_URL),
      TRUSTED_PROXIES: [...(config.TRUSTED_PROXIES ?? []), loopback].join(','),
      SHUTDOWN_DELAY: String(config.SHUTDOWN_DELAY || drainSeconds),
    };
    const replicas = Array.from({ length: count }, (_, nth) => new Replica(nth + 1, env, lines));
    const running = new Set(replicas);
    shutdown.add(
      () => `replica ${[...running].map(({ number }) => number).join(', ')}`,
      async () => {
        const codes = await Promise.all(
          replicas.map((replica) => replica.stop().finally(() => running.delete(replica))),
        );
        if (codes.some((code) => code !== 0)) process.exitCode = 1;
      },
    );
    const balancer = new Balancer(config, () => replicas.flatMap(({ backend }) => backend ?? []));
    shutdown.add(
      () => 'requests in flight',
      () => balancer.close(),
    );
    for (const replica of replicas) replica.start();
    await Promise.all(replicas.map(({ ready }) => ready));
    sayWhere(lifetime, await balancer.listen());
  });
}

lines.speakForNode();
main(process.argv.slice(2)).catch((error: unknown) => fail(error, lines));
