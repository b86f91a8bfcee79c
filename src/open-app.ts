import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { signingSecret } from './config/signing-secret';
import type { Lifetime } from './lifetime';

/** The application, ready to listen. It ends with the process: requests first, then its subscriptions. */
export async function openApp(
  { config, lines, shutdown }: Lifetime,
  databaseUrl: string,
): Promise<NestFastifyApplication> {
  const warn = (line: string) => lines.say(line, 'warn');
  if (config.OTEL_EXPORTER_OTLP_ENDPOINT && process.env['OTEL_SDK_DISABLED'] !== 'true') {
    const { startTracing } = await import('./tracing.js');
    const tracing = startTracing(config, warn);
    shutdown.add(
      () => 'the export of spans',
      () => tracing.stop(),
    );
  }
  // Loaded only now: everything before answers, and fails, faster without it.
  const { createApp } = await import('./bootstrap.js');
  const secret = await signingSecret(config, warn);
  const app = await createApp({ config, databaseUrl, secret });
  const { Draining } = await import('./gateway/draining.js');
  const { Subscriptions } = await import('./kernel/subscriptions/subscriptions.js');
  const busy = () => {
    const names = app.get(Subscriptions, { strict: false }).work();
    return [...new Set(names.flatMap(({ name, owned }) => (owned ? [name] : [])))].join(', ');
  };
  shutdown.announce(() => app.get(Draining).begin());
  shutdown.add(
    () => `the application (subscriptions that still run: ${busy() || 'none'})`,
    () => app.close(),
  );
  // before all else: requests in flight still need the views, the sagas and the database
  shutdown.add(
    () => 'requests in flight',
    () => app.getHttpAdapter().close() as Promise<void>,
  );
  return app;
}

/** Says where people find it. */
export function sayWhere({ config, note }: Lifetime, origin: string): void {
  const url = origin.replace('[::1]', 'localhost').replace('0.0.0.0', 'localhost');
  note(`Orderloom listens on ${url}`);
  if (!(config.DOCS ?? config.NODE_ENV !== 'production')) return;
  note(`Swagger UI: ${url}/docs - press Authorize and sign in as ${config.ADMIN_EMAIL}`);
  note('Lost the password? Run npm run admin:reset-password in another terminal.');
}
