import type { FastifyRequest } from 'fastify';

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * Path of the resource that a request addresses. Spellings that the router takes for the same one give the same path:
 * with and without a trailing slash, with characters percent-encoded, and UUIDs in capitals.
 */
export function resourceOf(request: FastifyRequest): string {
  const route = request.routeOptions.url;
  // null, whatever its type says, for a request that no route was looked up for
  const params = request.params as Record<string, string> | null;
  if (route === undefined || route.includes('*') || !params) return withoutSlash(request.url.split(/[?#]/, 1)[0]!);
  return withoutSlash(
    route.replace(/:(\w+)/g, (_, name: string) => {
      const param = params[name] ?? '';
      return encodeURIComponent(uuid.test(param) ? param.toLowerCase() : param);
    }),
  );
}

function withoutSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}
