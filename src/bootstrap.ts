import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { AppModule, type AppOptions } from './app.module';
import { OidcProvider } from './gateway/authentication/oidc-provider';
import { Draining, endConnections } from './gateway/draining';
import { showEntrance } from './gateway/entrance';
import { httpServer } from './gateway/http-server';
import { AppLogger, earlyLogger, loggerOptions } from './gateway/logging';
import { openApi, serveDocs } from './gateway/openapi';
import { EventLoop } from './gateway/event-loop';
import { limitRates, RateLimits } from './gateway/rate-limits/rate-limits';
import { shedLoad } from './gateway/shed-load';
import { paceSignIns } from './gateway/sign-in-pace';
import { Database } from './kernel/database/database';

/** The whole app on an open database, with its schemas up to date; ready to `listen`. */
export async function createApp(options: AppOptions): Promise<NestFastifyApplication> {
  const { config } = options;
  let provider: OidcProvider | undefined;
  const adapter = await httpServer(config, () => provider?.tokenEndpoint);
  const app = await NestFactory.create<NestFastifyApplication>(AppModule.with(options), adapter, {
    logger: earlyLogger(loggerOptions(config)),
    abortOnError: false,
  });
  app.useLogger(app.get(AppLogger));
  if (config.OIDC_ISSUER) provider = app.get(OidcProvider, { strict: false });
  const fastify = app.getHttpAdapter().getInstance();
  shedLoad(fastify, app.get(Database), app.get(EventLoop));
  endConnections(fastify, app.get(Draining));
  limitRates(fastify, app.get(RateLimits));
  // what the limit refuses must not fill the queue, in which everybody's sign-ins wait
  paceSignIns(fastify);
  const hasDocs = config.DOCS ?? config.NODE_ENV !== 'production';
  if (hasDocs) serveDocs(app, openApi(app), config);
  showEntrance(fastify, hasDocs);
  return app;
}
