import type { FastifyInstance } from 'fastify';
import { ExecutionContext, runInContext } from '../kernel/context';
import { newId } from '../kernel/ids';
import { correlationIdOf, parseTraceparent } from '../kernel/tracing/traceparent';
import { beginRequestSpan } from './request-span';

/**
 * Everything that a request does runs in a context of its own; its trace id is answered as `X-Request-Id`. It is that of
 * the caller's `traceparent`, if there is one. Ids never derive from it: callers use one trace for many requests.
 */
export function openRequestContexts(fastify: FastifyInstance): void {
  fastify.addHook('onRequest', (request, reply, done) => {
    const { traceparent } = request.headers;
    const caller = parseTraceparent(traceparent);
    const id = newId();
    const context = new ExecutionContext('anonymous', id, caller && correlationIdOf(caller));
    if (caller) context.traceparent = traceparent as string;
    void reply.header('X-Request-Id', context.correlationId);
    runInContext(context, () => {
      const run = beginRequestSpan(request, reply, context);
      if (run) run(done);
      else done();
    });
  });
}
