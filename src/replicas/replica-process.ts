import type { AddressInfo } from 'node:net';
import { ConfigError, logFormatOf, readConfig } from '../config/config';
import { fail, Lifetime } from '../lifetime';
import { Lines } from '../lines';
import { openApp } from '../open-app';
import { loopback } from './backend';

/** What a replica tells its supervisor. */
export interface Listening {
  readonly port: number;
}

const lines = new Lines(logFormatOf(process.env) === 'json');

/** One of several processes of `npm run start:replicas`, on a database that is migrated. */
async function main(): Promise<void> {
  const config = readConfig(process.env);
  const { DATABASE_URL: url } = config;
  if (!process.connected || !url) throw new ConfigError('This is a part of npm run start:replicas, which starts it.');
  const lifetime = new Lifetime(config, lines);
  lifetime.database = { url, setting: 'DATABASE_URL' };
  // The supervisor ends this replica, or is gone itself: no request comes any more.
  process.once('disconnect', () => {
    lifetime.shutdown.hurry();
    lifetime.end(0);
  });
  await lifetime.run(async () => {
    const app = await openApp(lifetime, url);
    if (lifetime.shutdown.begun) return;
    await app.listen(0, loopback);
    const { port } = app.getHttpServer().address() as AddressInfo;
    process.send?.({ port } satisfies Listening);
  });
}

// there is nobody to read what it says after its supervisor was killed
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
lines.speakForNode();
main().catch((error: unknown) => fail(error, lines));
