import { STATUS_CODES } from 'node:http';
import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException, Logger } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { currentContext } from '../kernel/context';
import { isDatabaseTrouble, isContention } from '../kernel/database/errors';
import { isInfrastructure, messageOf } from '../kernel/fault';
import { DomainError, type DomainErrorKind } from '../kernel/domain-error';
import { EventDataError } from '../kernel/event-store/event';
import { VersionMismatch } from '../kernel/event-store/errors';
import { type Problem, type ProblemDetail, ProblemError } from '../kernel/http/problem';
import { shortened } from '../kernel/http/text';
import { resourceOf } from './resource';
import { errorHeaders } from './security-headers';

const statusOf: Record<DomainErrorKind, number> = { 'not-found': 404, invalid: 422, conflict: 409 };

/** A refusal does not repeat the request, however much of it is wrong. */
const maxEntries = 20;
const maxText = 300;

interface Answer {
  readonly status: number;
  readonly body: Problem;
  readonly headers: Readonly<Record<string, string>>;
}

/** What went wrong, before it gets its address and trace. */
interface Finding {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly details?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The one shape of errors: RFC 9457. Nothing of an unexpected error gets out but the id to find it by. */
@Catch()
export class ProblemDetailsFilter implements ExceptionFilter {
  private readonly logger = new Logger('Http');
  private readonly busy = new BusyLog(this.logger);

  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const { status, body, headers } = toProblem(error, request);
    if (request.raw.destroyed && !request.raw.complete) {
      this.logger.debug(`${request.method} ${body.instance}: the client disconnected, trace ${body.traceId}`);
    } else if (body.code === 'shutting-down') {
      this.logger.debug(`${request.method} ${body.instance}: the process is shutting down, trace ${body.traceId}`);
    } else if (status === 503) {
      this.busy.log(body.code, () => `${request.method} ${body.instance}: ${messageOf(error)} Trace ${body.traceId}`);
    } else if (status >= 500) {
      const text = error instanceof Error ? error.stack : messageOf(error);
      this.logger.error(`${request.method} ${body.instance} failed, trace ${body.traceId}: ${text}`);
    }
    const reply = http.getResponse<FastifyReply>();
    if (reply.sent) return;
    void reply.status(status).headers(headers).type('application/problem+json; charset=utf-8').send(body);
  }
}

/**
 * Requests that are refused because something is busy or away: expected, and many at a time. One line per code and second,
 * without a stack, whose making takes longer than the rest of the response.
 */
class BusyLog {
  private readonly lines = new Map<string, { at: number; omitted: number }>();

  constructor(private readonly logger: Logger) {}

  log(code: string, line: () => string): void {
    const last = this.lines.get(code);
    const now = performance.now();
    if (last && now - last.at < 1000) {
      last.omitted++;
      return;
    }
    this.lines.set(code, { at: now, omitted: 0 });
    this.logger.warn(line() + (last?.omitted ? ` (and ${last.omitted} like it before)` : ''));
  }
}

/** For what Fastify refuses before any route, hook or filter: an address that cannot be read. */
export function answerUnrouted(error: Error, request: FastifyRequest, reply: FastifyReply): void {
  const { status, body } = toProblem(error, request);
  void reply.status(status).headers({ ...errorHeaders, 'X-Request-Id': body.traceId });
  void reply.type('application/problem+json; charset=utf-8');
  void reply.send(JSON.stringify(body));
}

export function toProblem(error: unknown, request: FastifyRequest): Answer {
  const { status, code, detail, details = {}, headers = {} } = find(error);
  const body: Problem = {
    type: `https://orderloom.dev/problems/${code}`,
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail: shortened(detail, maxText),
    instance: shortened(resourceOf(request), maxText),
    code,
    traceId: currentContext().correlationId,
    ...bounded(details),
  };
  return { status, body, headers: { ...(status === 503 && { 'Retry-After': '2' }), ...headers } };
}

/** At most 20 entries of each list, with their texts cut short, and how many were left out. */
function bounded(details: Readonly<Record<string, unknown>>): Record<string, unknown> {
  let omitted = 0;
  const members = Object.entries(details).map(([name, value]): [string, unknown] => {
    if (!Array.isArray(value)) return [name, value];
    omitted += Math.max(0, value.length - maxEntries);
    return [name, value.slice(0, maxEntries).map(shortTexts)];
  });
  return { ...Object.fromEntries(members), ...(omitted > 0 && { omitted }) };
}

function shortTexts(entry: unknown): unknown {
  if (typeof entry !== 'object' || entry === null) return entry;
  const members = Object.entries(entry as Record<string, unknown>);
  return Object.fromEntries(
    members.map(([name, value]) => [name, typeof value === 'string' ? shortened(value, maxText) : value]),
  );
}

function find(error: unknown): Finding {
  if (error instanceof ProblemError) {
    const { status, code, message: detail, details, headers } = error;
    return { status, code, detail, details, headers };
  }
  if (error instanceof DomainError) {
    return { status: statusOf[error.kind], code: error.code, detail: error.message, details: error.details };
  }
  if (error instanceof VersionMismatch) {
    return { status: 412, code: 'version-mismatch', detail: `${error.message} Read it again and repeat the request.` };
  }
  if (error instanceof EventDataError) return { status: 400, code: 'unstorable-text', detail: `${error.message}.` };
  const { retryAfterMs, statusCode, code } = (error ?? {}) as {
    retryAfterMs?: unknown;
    statusCode?: unknown;
    code?: unknown;
  };
  // The error's own text may name parts of the system, such as a circuit breaker: it is in the log.
  if (typeof retryAfterMs === 'number') return busy('overloaded', tooBusy, retryAfterMs);
  if (isInfrastructure(error)) {
    const isDatabase = isDatabaseTrouble(error) && !isContention(error);
    return isDatabase ? busy('database-unavailable', noDatabase, 2000) : busy('overloaded', tooBusy, 1000);
  }
  if (error instanceof HttpException) return fromHttp(error);
  // Fastify's own refusals: malformed JSON, body too large, unsupported media type
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) {
    const name = typeof code === 'string' ? code.replace(/^FST_ERR_(CTP_)?/, '') : 'bad-request';
    return { status: statusCode, code: name.toLowerCase().replaceAll('_', '-'), detail: (error as Error).message };
  }
  // text that Postgres cannot hold: it got past validation, but the caller sent it
  if (code === '22021' || code === '22P05') {
    return { status: 400, code: 'unstorable-text', detail: 'Text with a NUL or half a character cannot be stored.' };
  }
  return { status: 500, code: 'internal', detail: 'Something went wrong on our side; the traceId helps us find it.' };
}

const noDatabase = 'The database cannot take this just now. Try again shortly.';
const tooBusy = 'The service is too busy for this request just now. Try again shortly.';

function busy(code: string, detail: string, retryAfterMs: number): Finding {
  return { status: 503, code, detail, headers: { 'Retry-After': String(Math.max(1, Math.ceil(retryAfterMs / 1000))) } };
}

function fromHttp(error: HttpException): Finding {
  const status = error.getStatus();
  const response = error.getResponse() as { message?: unknown; errors?: ProblemDetail[] } | string;
  const detail =
    typeof response === 'object' && typeof response.message === 'string' ? response.message : error.message;
  const errors = typeof response === 'object' ? response.errors : undefined;
  const code = errors ? 'validation' : (STATUS_CODES[status] ?? 'error').toLowerCase().replaceAll(' ', '-');
  return { status, code, detail, details: errors && { errors } };
}
