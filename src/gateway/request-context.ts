import type { FastifyInstance } from 'fastify';
import { ExecutionContext, runInContext } from '../kernel/context';
import { newId } from '../kernel/ids';
import { correlationIdOf, formatTraceparent, parseTraceparent } from '../kernel/tracing/traceparent';
import { beginRequestSpan } from './request-span';

/**
 * Everything that a request does runs in a context of its own; its trace id is answered as `X-Request-Id`. It is that of
 * the caller's `traceparent`, if there is one. Ids never derive from it: callers use one trace for many requests.
 */
export function openRequestContexts(fastify: FastifyInstance): void {
  fastify.addHook('onRequest', (request, reply, done) => {
    const caller = parseTraceparent(request.headers['traceparent']);
    const id = newId();
    const context = new ExecutionContext('anonymous', id, caller && correlationIdOf(caller));
    // what was understood of it, not what was sent: a later version may have any amount of text, and each event keeps this
    if (caller) context.traceparent = formatTraceparent(caller);
    void reply.header('X-Request-Id', context.correlationId);
    runInContext(context, () => {
      const run = beginRequestSpan(request, reply, context);
      if (run) run(done);
      else done();
    });
  });
}
