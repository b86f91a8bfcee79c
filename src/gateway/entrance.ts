import type { FastifyInstance } from 'fastify';

/** What to show at `/`, where somebody looks first who knows only the host. */
export function showEntrance(fastify: FastifyInstance, hasDocs: boolean): void {
  if (hasDocs) {
    // relative, for proxies that serve it below a path of theirs
    fastify.get('/', (_request, reply) => reply.redirect('docs'));
    return;
  }
  fastify.get('/', () => ({ name: 'Orderloom', api: '/v1', health: '/health/ready' }));
}
