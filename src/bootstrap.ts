import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { AppModule, type AppOptions } from './app.module';
import { limitRequests } from './gateway/request-limits';
import { AppLogger } from './gateway/logging';
import { openApi, serveDocs } from './gateway/openapi';
import { answerUnrouted } from './gateway/problem-details.filter';
import { openRequestContexts } from './gateway/request-context';

const maxBodyBytes = 1 << 20;

/** The whole app on an open database, with its schemas up to date; ready to `listen`. */
export async function createApp(options: AppOptions): Promise<NestFastifyApplication> {
  const adapter = new FastifyAdapter({
    bodyLimit: maxBodyBytes,
    // ends idle keep-alive connections at shutdown, and lets requests in flight finish
    forceCloseConnections: 'idle',
    routerOptions: { ignoreTrailingSlash: true },
    return503OnClosing: true,
    frameworkErrors: answerUnrouted,
  });
  openRequestContexts(adapter.getInstance());
  limitRequests(adapter.getInstance());
  const app = await NestFactory.create<NestFastifyApplication>(AppModule.with(options), adapter, {
    bufferLogs: true,
    abortOnError: false,
  });
  app.useLogger(app.get(AppLogger));
  const { config } = options;
  if (config.DOCS ?? config.NODE_ENV !== 'production') serveDocs(app, openApi(app));
  return app;
}
