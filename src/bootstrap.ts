import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance } from 'fastify';
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
    trustProxy: options.config.TRUSTED_PROXIES ?? false,
    // ends idle keep-alive connections at shutdown, and lets requests in flight finish
    forceCloseConnections: 'idle',
    routerOptions: { ignoreTrailingSlash: true },
    return503OnClosing: true,
    frameworkErrors: answerUnrouted,
  });
  openRequestContexts(adapter.getInstance());
  endConnectionsAtClose(adapter.getInstance());
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

/** A connection that is busy when the server closes falls idle later, and would be kept alive for a minute more. */
function endConnectionsAtClose(fastify: FastifyInstance): void {
  fastify.addHook('preClose', (done) => {
    const timer = setInterval(() => fastify.server.closeIdleConnections(), 50);
    fastify.server.once('close', () => clearInterval(timer));
    done();
  });
}
