import helmet from '@fastify/helmet';
import type { FastifyInstance } from 'fastify';

/** Nothing may be loaded from an answer of the API, should a browser ever show one as a page, nor may it be framed. */
const apiPolicy = { 'default-src': ["'none'"], 'frame-ancestors': ["'none'"] };

/** Swagger UI: scripts are files, styles are also in the page and in its elements. */
const docsPolicy = {
  'default-src': ["'none'"],
  'base-uri': ["'none'"],
  'connect-src': ["'self'"],
  'font-src': ["'self'", 'data:'],
  'form-action': ["'self'"],
  'frame-ancestors': ["'none'"],
  'img-src': ["'self'", 'data:'],
  'script-src': ["'self'"],
  'style-src': ["'self'", "'unsafe-inline'"],
};

const policy = (directives: Record<string, string[]>) => ({ useDefaults: false, directives });

/** For answers that are written before any hook runs. */
export const errorHeaders: Readonly<Record<string, string>> = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none';frame-ancestors 'none'",
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
};

const yearSeconds = 31_536_000;

/** What a browser is told about every answer. Must run before routes are added. */
export async function secureHeaders(fastify: FastifyInstance): Promise<void> {
  fastify.addHook('onRoute', (route) => {
    if (isDocs(route.url)) route.helmet = { contentSecurityPolicy: policy(docsPolicy) };
  });
  fastify.addHook('onRequest', (request, reply, done) => {
    // Answers hold tokens and personal data, and what they say changes with every event.
    if (!isDocs(request.url)) void reply.header('Cache-Control', 'no-store');
    if (request.protocol === 'https') void reply.header('Strict-Transport-Security', `max-age=${yearSeconds}`);
    done();
  });
  await fastify.register(helmet, {
    contentSecurityPolicy: policy(apiPolicy),
    frameguard: { action: 'deny' },
    // only where TLS is, above
    strictTransportSecurity: false,
  });
}

function isDocs(url: string): boolean {
  return /^\/docs(?![^/?])/.test(url);
}
