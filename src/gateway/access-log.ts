import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { PinoLogger } from 'nestjs-pino';
import type { Config } from '../config/config';
import { currentContext } from '../kernel/context';
import { shortened } from '../kernel/http/text';
import { loggerOptions, spanMembers } from './logging';

/** A response that takes longer is worth a warning, in ms; what the client asked to wait (`Prefer: wait`) not counted. */
const slowMs = 1000;

/** As nginx logs it: the client closed the connection before it had the response. */
const clientClosedRequest = 499;

const maxPath = 300;

/** What is asked for every few seconds, and says nothing while all is well. */
export const isProbe = (route: string) => route.startsWith('/health/') || route === '/metrics';

/** A line of the log for one request. */
export interface AccessLine {
  readonly traceId: string;
  /** `user:<id>`, `api-key:<id>` or `anonymous`: never an e-mail address. */
  readonly principal: string;
  readonly method: string;
  /** The pattern, such as `/v1/orders/:id`; `none` where no route matches. */
  readonly route: string;
  /** Without the query, which may hold personal data. */
  readonly path: string;
  readonly status: number;
  readonly durationMs: number;
  /** Of the response's body. */
  readonly bytes: number;
}

/**
 * One line a request, `all` or only the `problems`: failures, and responses that were slow. A failure's cause has a line
 * of its own, at level error, from ProblemDetailsFilter; this one warns. Requests that are refused because something is
 * busy are many at a time, and are warned of there once a second.
 */
export function logAccess(fastify: FastifyInstance, config: Config): void {
  const wanted = config.ACCESS_LOG ?? (config.NODE_ENV === 'production' ? 'all' : 'problems');
  if (wanted === 'off') return;
  const logger = new PinoLogger(loggerOptions(config));
  logger.setContext('Access');
  fastify.addHook('onRequest', (request, reply, done) => {
    const context = currentContext();
    const span = spanMembers();
    // the only event that comes in every case, also when the client has gone
    reply.raw.once('close', () => {
      const { correlationId, actor } = context;
      const line = accessLine(request, reply, correlationId, actor);
      const level = levelOf(line, request);
      if (level === undefined || (level === 'info' && wanted === 'problems')) return;
      logger[level](
        { ...line, ...span },
        `${line.method} ${line.path} ${line.status} in ${line.durationMs} ms, ${actor}`,
      );
    });
    done();
  });
}

function accessLine(request: FastifyRequest, reply: FastifyReply, traceId: string, principal: string): AccessLine {
  const { url, method, routeOptions } = request;
  const query = url.indexOf('?');
  return {
    traceId,
    principal,
    method,
    route: routeOptions.url ?? 'none',
    path: shortened(query < 0 ? url : url.slice(0, query), maxPath),
    status: reply.raw.writableFinished ? reply.raw.statusCode : clientClosedRequest,
    durationMs: Math.round(reply.elapsedTime * 10) / 10,
    bytes: Number(reply.getHeader('content-length') ?? 0),
  };
}

/** Undefined for what is not worth a line. */
function levelOf(line: AccessLine, request: FastifyRequest): 'info' | 'warn' | undefined {
  const { route, status, durationMs, principal } = line;
  if (status === 200 && isProbe(route)) return undefined;
  if (status >= 500 && status !== 503) return 'warn';
  // anyone can cause slow refusals, and they must not bury the lines that matter
  if (durationMs <= slowMs || (status >= 400 && principal === 'anonymous')) return 'info';
  const { prefer } = request.headers;
  const askedSeconds = Number(/(?:^|[,;\s])wait=(\d{1,3})/.exec(String(prefer ?? ''))?.[1] ?? 0);
  return durationMs <= slowMs + askedSeconds * 1000 ? 'info' : 'warn';
}
