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

type Directives = Record<string, (string | (() => string))[]>;

const policy = (directives: Directives) => ({ useDefaults: false, directives });

/** For answers that are written before any hook runs. */
export const errorHeaders: Readonly<Record<string, string>> = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none';frame-ancestors 'none'",
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
};

const yearSeconds = 31_536_000;

/**
 * What a browser is told about every answer. Must run before routes are added.
 *
 * @param issuer of the identity provider with which Swagger UI may sign in
 */
export async function secureHeaders(
  fastify: FastifyInstance,
  issuer?: string,
  tokenEndpoint: () => string | undefined = () => undefined,
): Promise<void> {
  const tokenOrigin = () => new URL(tokenEndpoint() ?? issuer!).origin;
  fastify.addHook('onRoute', (route) => {
    if (!isDocs(route.url)) return;
    if (issuer === undefined) route.helmet = { contentSecurityPolicy: policy(docsPolicy) };
    else {
      const connect = [...docsPolicy['connect-src'], tokenOrigin];
      route.helmet = {
        contentSecurityPolicy: policy({ ...docsPolicy, 'connect-src': connect }),
        // The provider's page opens in a window that must find its way back: its last page is one of these files.
        crossOriginOpenerPolicy: { policy: route.url.endsWith('*') ? 'unsafe-none' : 'same-origin-allow-popups' },
      };
    }
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
