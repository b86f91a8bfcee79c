import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ExecutionContext } from '../kernel/context';
import { beginSpan, SpanKind, SpanStatusCode } from '../kernel/tracing/tracing';
import { isProbe } from './access-log';

/**
 * The span of a request, named by OpenTelemetry's conventions for HTTP servers: `POST /v1/orders`. It ends with the
 * response, or when the client goes. Runs what follows within it; undefined for probes, and without an SDK.
 */
export function beginRequestSpan(
  request: FastifyRequest,
  reply: FastifyReply,
  context: ExecutionContext,
): ((work: () => void) => void) | undefined {
  const { method, routeOptions, url } = request;
  const route = routeOptions.url;
  if (route !== undefined && isProbe(route)) return undefined;
  const begun = beginSpan(route === undefined ? method : `${method} ${route}`, () => ({
    kind: SpanKind.SERVER,
    isEntry: true,
    attributes: {
      'http.request.method': method,
      'http.route': route,
      'url.path': url.split('?', 1)[0],
      // as the client has it, with hyphens
      'orderloom.request.id': context.correlationId,
    },
  }));
  if (!begun) return undefined;
  const { span, run } = begun;
  reply.raw.once('close', () => {
    const { statusCode, writableFinished } = reply.raw;
    span.setAttribute('orderloom.actor', context.actor);
    if (writableFinished) span.setAttribute('http.response.status_code', statusCode);
    else span.setAttribute('error.type', 'client-disconnected');
    if (writableFinished && statusCode >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
    span.end();
  });
  return run;
}
