import type { FastifyInstance } from 'fastify';
import type { Database } from '../kernel/database/database';
import { ProblemError } from '../kernel/http/problem';
import type { EventLoop } from './event-loop';

/** Requests that wait for a connection to the database, and how long, in ms, before more are refused. */
const maxWaiting = 64;
const maxWaitMs = 500;

/**
 * Refuses requests while those before them wait too long for a connection, or for their turn. A queue without a bound would
 * keep the app busy for long after it is well again, with requests whose clients have given up.
 */
export function shedLoad(fastify: FastifyInstance, { pool }: Database, eventLoop: EventLoop): void {
  const reason = (): string | undefined => {
    if (pool.waitingCount >= maxWaiting && pool.waitMs > maxWaitMs) return 'Too many requests wait for the database.';
    return eventLoop.isPressed ? 'This process has more to do than it can.' : undefined;
  };
  fastify.addHook('onRequest', (request, _reply, done) => {
    const overloaded = reason();
    if (!overloaded || !request.routeOptions.url?.startsWith('/v1/')) return done();
    done(new ProblemError(503, 'overloaded', `${overloaded} Try again shortly.`, {}, { 'Retry-After': '2' }));
  });
}
