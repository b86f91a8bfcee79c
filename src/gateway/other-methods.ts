import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ProblemError } from '../kernel/http/problem';

interface Path {
  readonly pattern: RegExp;
  readonly methods: Set<string>;
}

/**
 * Answers what no route takes, before anybody has to sign in and before a body is read: 404 for an unknown path, 405 with
 * `Allow` for a known path with another method, 204 with `Allow` for OPTIONS. Must run before routes are added.
 */
export function answerOtherMethods(fastify: FastifyInstance): void {
  const paths = new Map<string, Path>();
  fastify.addHook('onRoute', ({ url, method }) => {
    const methods = [method].flat().filter((each) => each !== 'OPTIONS');
    if (methods.length === 0) return;
    const path = paths.get(url) ?? { pattern: patternOf(url), methods: new Set() };
    for (const each of methods) path.methods.add(each);
    paths.set(url, path);
  });
  fastify.addHook('onRequest', (request, reply, done) => {
    const isOptions = request.method === 'OPTIONS';
    if (!isOptions && !request.is404) return done();
    const allowed = methodsOf([...paths.values()], request.url);
    if (isOptions && (allowed.length > 0 || isPreflight(request))) return answerOptions(reply, allowed);
    done(allowed.length > 0 ? otherMethod(request, allowed) : unknownPath());
  });
}

/** A browser that is told 404 here would not send the request itself, whose answer says what is wrong. */
function isPreflight({ headers }: FastifyRequest): boolean {
  return headers.origin !== undefined && headers['access-control-request-method'] !== undefined;
}

function answerOptions(reply: FastifyReply, allowed: readonly string[]): void {
  if (allowed.length > 0) void reply.header('Allow', allowed.join(', '));
  void reply.status(204).send();
}

/** Methods of all routes that a path may belong to: `/v1/users/me` takes those of `/v1/users/:id` as well. */
function methodsOf(paths: readonly Path[], url: string): string[] {
  const path = decoded(url.split(/[?#]/, 1)[0]!);
  const found = paths
    .filter(({ pattern }) => path === '*' || pattern.test(path))
    .flatMap(({ methods }) => [...methods]);
  return found.length === 0 ? [] : [...new Set([...found, 'OPTIONS'])].sort();
}

function patternOf(url: string): RegExp {
  const segments = url.replace(/\/$/, '').split('/');
  const patterns = segments.map((segment) => {
    if (segment.startsWith(':')) return '[^/]+';
    return segment.split('*').map(escaped).join('.*');
  });
  return new RegExp(`^${patterns.join('/')}/?$`);
}

const escaped = (text: string) => text.replace(/[.+?^${}()|[\]\\]/g, '\\$&');

/** As the router reads it. */
function decoded(path: string): string {
  try {
    return decodeURI(path);
  } catch {
    return path;
  }
}

function unknownPath(): ProblemError {
  return new ProblemError(
    404,
    'not-found',
    'No operation has this path. The API documentation lists those that there are.',
  );
}

function otherMethod({ method }: FastifyRequest, allowed: readonly string[]): ProblemError {
  const detail = `This path does not take ${method}. It takes ${allowed.join(', ')}.`;
  return new ProblemError(405, 'method-not-allowed', detail, {}, { Allow: allowed.join(', ') });
}
