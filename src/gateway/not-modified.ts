import { hash } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isListed, isVersionTag, withRepresentation } from '../kernel/http/conditional';
import type { AuthenticatedRequest } from '../kernel/http/principal';

/**
 * Completes the ETag of a resource with a hash of what is sent, and answers `If-None-Match` with 304. The version alone
 * does not tell all: a product shows what is available, an order shows `[erased]` once its customer is, and the next
 * release shows a member more.
 */
export function answerNotModified(fastify: FastifyInstance): void {
  fastify.addHook<unknown>('onSend', (request, reply, payload, done) => {
    const version = reply.getHeader('etag');
    if (typeof payload !== 'string' || reply.statusCode >= 300 || !isVersionTag(version)) return done(null, payload);
    const tag = withRepresentation(version, hash('sha256', payload, 'base64url').slice(0, 16));
    void reply.header('ETag', tag);
    if (request.method !== 'GET' && request.method !== 'HEAD') return done(null, payload);
    allowCaches(request, reply);
    const seen = request.headers['if-none-match'];
    if (seen === undefined || !isListed(tag, seen)) return done(null, payload);
    void reply.status(304);
    if (request.method === 'GET') void reply.removeHeader('content-type');
    // for HEAD, Fastify takes the length from the payload, and leaves it out itself
    done(null, request.method === 'GET' ? null : payload);
  });
}

/** May be kept if it is asked for each time whether it is current: what only the caller may see, by the caller's own cache. */
function allowCaches(request: FastifyRequest, reply: FastifyReply): void {
  if ((request as AuthenticatedRequest).principal === undefined) {
    void reply.header('Cache-Control', 'no-cache');
    return;
  }
  void reply.header('Cache-Control', 'private, no-cache');
  // whoever signs in next at the same browser does not even ask for what another one was shown
  void reply.header('Vary', [reply.getHeader('vary'), 'Authorization, X-API-Key'].filter(Boolean).join(', '));
}
