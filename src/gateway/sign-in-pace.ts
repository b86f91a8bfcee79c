import { AsyncResource } from 'node:async_hooks';
import type { FastifyInstance } from 'fastify';
import { addressKey } from '../kernel/http/client-address';
import { ProblemError } from '../kernel/http/problem';

/** Time between two requests that are let in while more wait, in ms. */
const pauseMs = 2;

/** The last of them waits for two seconds. */
const maxWaiting = 1000;

/**
 * Lets sign-ins, registrations and the like in one by one, with a pause for other requests in between. A burst of them is
 * mostly refused, and the refusals in a row would otherwise hold up everything else. Addresses take turns: who sends one
 * does not wait for all of who sends hundreds.
 */
export function paceSignIns(fastify: FastifyInstance): void {
  const waiting = new Map<string, (() => void)[]>();
  let count = 0;
  let timer: NodeJS.Timeout | undefined;
  const take = () => {
    const [address, [done, ...more]] = waiting.entries().next().value ?? ['', []];
    waiting.delete(address);
    if (more.length > 0) waiting.set(address, more);
    if (done) count--;
    return done;
  };
  const next = () => {
    const done = take();
    timer = done && setTimeout(next, pauseMs);
    done?.();
  };
  fastify.addHook('onRequest', (request, _reply, done) => {
    if (!request.routeOptions.url?.startsWith('/v1/auth/')) return done();
    if (count >= maxWaiting) return done(tooMany());
    // in the context of its own request, whichever timer lets it in
    const address = addressKey(request.ip);
    const ofAddress = waiting.get(address) ?? [];
    ofAddress.push(AsyncResource.bind(() => done()));
    waiting.set(address, ofAddress);
    count++;
    if (!timer) next();
  });
}

function tooMany(): ProblemError {
  const detail = 'Too many sign-ins are waiting. Try again shortly.';
  return new ProblemError(503, 'overloaded', detail, {}, { 'Retry-After': '2' });
}
