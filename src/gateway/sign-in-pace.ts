import { AsyncResource } from 'node:async_hooks';
import type { FastifyInstance } from 'fastify';

/** Time between two requests that are let in while more wait, in ms. */
const pauseMs = 2;

/** Lets sign-ins, registrations and the like in one by one: in between, other requests have their turn. */
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
    // in the context of its own request, whichever timer lets it in
    waiting.push(AsyncResource.bind(() => done()));
    if (!timer) next();
  });
}
