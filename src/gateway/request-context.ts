import type { FastifyInstance } from 'fastify';
import { ExecutionContext, runInContext } from '../kernel/context';
import { newId } from '../kernel/ids';

/** Everything that a request does runs in a context of its own; its trace id is answered as `X-Request-Id`. */
export function openRequestContexts(fastify: FastifyInstance): void {
  fastify.addHook('onRequest', (_request, reply, done) => {
    const context = new ExecutionContext('anonymous', newId());
    void reply.header('X-Request-Id', context.correlationId);
    runInContext(context, done);
  });
}
