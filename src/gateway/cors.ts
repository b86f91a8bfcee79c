import cors from '@fastify/cors';
import type { FastifyInstance } from 'fastify';

/** What scripts may read of a response, besides the few headers that they always may. */
const exposedHeaders = [
  'Accept-Patch',
  'Accept-Post',
  'Allow',
  'ETag',
  'Idempotent-Replayed',
  'Location',
  'Preference-Applied',
  'RateLimit',
  'RateLimit-Policy',
  'Retry-After',
  'WWW-Authenticate',
  'X-Request-Id',
];

/** Time for which a browser need not ask again, in seconds: Chromium keeps it no longer. */
const maxAge = 7200;

/**
 * Lets scripts of these origins call the API from a browser. Must run before whatever refuses requests, so that scripts can
 * read refusals too. Credentials are never allowed: access tokens are sent in a header, so no cookie is needed.
 */
export async function allowOrigins(fastify: FastifyInstance, origins: readonly string[]): Promise<void> {
  if (origins.length === 0) return;
  await fastify.register(cors, {
    origin: [...origins],
    methods: ['DELETE', 'GET', 'HEAD', 'PATCH', 'POST', 'PUT'],
    exposedHeaders,
    maxAge,
    // OPTIONS has one answer, which answerOtherMethods gives: with Allow, and without Origin no text/plain
    strictPreflight: false,
    preflightContinue: true,
  });
}
