import { AsyncResource } from 'node:async_hooks';
import type { FastifyInstance } from 'fastify';
import { ProblemError } from '../kernel/http/problem';

/** Time between two requests that are let in while more wait, in ms. */
const pauseMs = 2;

/** The last of them waits for two seconds. */
const maxWaiting = 1000;

/**
 * Lets sign-ins, registrations and the like in one by one, with a pause for other requests in between. A burst of them is
 * mostly refused, and the refusals in a row would otherwise hold up everything else.
 */
export function paceSignIns(fastify: FastifyInstance): void {
  const waiting: (() => void)[] = [];
  let timer: NodeJS.Timeout | undefined;
  const next = () => {
    const done = waiting.shift();
    timer = done && setTimeout(next, pauseMs);
    done?.();
  };
  fastify.addHook('onRequest', (request, _reply, done) => {
    if (!request.routeOptions.url?.startsWith('/v1/auth/')) return done();
    if (waiting.length >= maxWaiting) return done(tooMany());
    // in the context of its own request, whichever timer lets it in
    waiting.push(AsyncResource.bind(() => done()));
    if (!timer) next();
  });
}

function tooMany(): ProblemError {
  const detail = 'Too many sign-ins are waiting. Try again shortly.';
  return new ProblemError(503, 'overloaded', detail, {}, { 'Retry-After': '2' });
}
