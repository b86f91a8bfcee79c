import { Logger } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyInstance } from 'fastify';
import type { Config } from '../config/config';
import { logAccess } from './access-log';
import { leadToSignIn } from './authentication/protected-resource.controller';
import { boundBodiesInMemory } from './bodies-in-memory';
import { parseBodies } from './body-parsers';
import { arrivalLimits, connectionTimeout, keepAliveTimeout } from './connection-limits';
import { allowOrigins } from './cors';
import { shuttingDown } from './draining';
import { idleConnections } from './idle-connections';
import { answerNotModified } from './not-modified';
import { answerOtherMethods } from './other-methods';
import { answerUnrouted } from './problem-details.filter';
import { openRequestContexts } from './request-context';
import { limitRequests } from './request-limits';
import { secureHeaders } from './security-headers';
import { answerUnreadable, refuseTunnels } from './unreadable-requests';

/** Fastify, with bounds on whatever a client can take: connections, time, bytes, and the shape of what it sends. */
export async function httpServer(
  config: Config,
  /** Where Swagger UI gets access tokens of the identity provider, once that is known. */
  tokenEndpoint: () => string | undefined = () => undefined,
): Promise<FastifyAdapter> {
  const arrival = arrivalLimits(config);
  const adapter = new FastifyAdapter({
    bodyLimit: config.MAX_BODY_BYTES,
    trustProxy: config.TRUSTED_PROXIES ?? false,
    requestTimeout: arrival.requestTimeout,
    connectionTimeout,
    keepAliveTimeout,
    http: arrival,
    // ends idle keep-alive connections at shutdown, and lets requests in flight finish
    forceCloseConnections: 'idle',
    routerOptions: { ignoreTrailingSlash: true },
    // instead, refuseAtClose answers as every other error is answered
    return503OnClosing: false,
    frameworkErrors: answerUnrouted,
    clientErrorHandler: answerUnreadable,
  });
  const fastify = adapter.getInstance<FastifyInstance>();
  // for an Expect header that Node does not know: ignored (RFC 9110, 10.1.1), instead of an answer without a body
  fastify.server.on('checkExpectation', (request, response) => fastify.server.emit('request', request, response));
  refuseTunnels(fastify);
  limitConnections(fastify, config.MAX_CONNECTIONS);
  openRequestContexts(fastify);
  logAccess(fastify, config);
  await allowOrigins(fastify, config.CORS_ORIGINS ?? []);
  refuseAtClose(fastify);
  await secureHeaders(fastify, config.OIDC_ISSUER, tokenEndpoint);
  if (config.OIDC_ISSUER) leadToSignIn(fastify, config);
  limitRequests(fastify);
  answerOtherMethods(fastify);
  boundBodiesInMemory(fastify);
  parseBodies(adapter, config.MAX_BODY_BYTES);
  answerNotModified(fastify);
  return adapter;
}

/** Node closes what exceeds the limit at once. Said at most once a minute. */
function limitConnections(fastify: FastifyInstance, limit: number): void {
  const logger = new Logger('Http');
  let saidAt = -Infinity;
  fastify.server.maxConnections = limit;
  fastify.server.on('drop', () => {
    if (performance.now() - saidAt < 60_000) return;
    saidAt = performance.now();
    logger.warn(`${limit} connections are open: refusing more. MAX_CONNECTIONS sets the limit.`);
  });
}

/** Requests in flight are finished, others refused. */
function refuseAtClose(fastify: FastifyInstance): void {
  let closing = false;
  const endIdle = idleConnections(fastify.server);
  fastify.addHook('onRequest', (_request, _reply, done) => {
    done(closing ? shuttingDown() : undefined);
  });
  fastify.addHook('preClose', (done) => {
    closing = true;
    endIdle();
    done();
  });
}
