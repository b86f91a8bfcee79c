import type { FastifyInstance } from 'fastify';
import type { Database } from '../kernel/database/database';
import { ProblemError } from '../kernel/http/problem';

/** Requests that wait for a connection to the database, and how long, in ms, before more are refused. */
const maxWaiting = 64;
const maxWaitMs = 500;

/**
 * Refuses requests while those before them wait too long for a connection. A queue without a bound would keep the app busy
 * for long after the database is well again, with requests whose clients have given up.
 */
export function shedLoad(fastify: FastifyInstance, { pool }: Database): void {
  fastify.addHook('onRequest', (request, _reply, done) => {
    const isOverloaded = pool.waitingCount >= maxWaiting && pool.waitMs > maxWaitMs;
    if (!isOverloaded || !request.routeOptions.url?.startsWith('/v1/')) return done();
    const detail = 'Too many requests wait for the database. Try again shortly.';
    done(new ProblemError(503, 'overloaded', detail, {}, { 'Retry-After': '2' }));
  });
}
