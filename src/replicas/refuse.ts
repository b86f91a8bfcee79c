import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import { errorHeaders } from '../gateway/security-headers';
import type { Problem } from '../kernel/http/problem';
import { newId } from '../kernel/ids';

const refusals = {
  'shutting-down': { status: 503, detail: 'Orderloom is shutting down. Try again shortly.' },
  'no-replica-ready': { status: 503, detail: 'No replica is ready. Nothing was done. Try again shortly.' },
  'replica-lost': {
    status: 502,
    detail:
      'The replica ended before it answered, so it is not known whether the request was carried out. ' +
      'Repeat it with the same Idempotency-Key.',
  },
  'host-ambiguous': { status: 400, detail: 'The request has more than one Host header.' },
  'malformed-http': { status: 400, detail: 'What was received is not a valid HTTP/1.1 request.' },
} as const;

/** Answers in place of a replica, as a replica answers errors. */
export function refuse(request: IncomingMessage, response: ServerResponse, code: keyof typeof refusals): void {
  const { status, detail } = refusals[code];
  const traceId = newId();
  const problem: Problem = {
    type: `https://orderloom.dev/problems/${code}`,
    title: STATUS_CODES[status]!,
    status,
    detail,
    instance: (request.url ?? '/').split('?')[0]!,
    code,
    traceId,
  };
  // the rest of the request, which nobody reads
  request.resume();
  response.writeHead(status, {
    ...errorHeaders,
    ...(code === 'shutting-down' && { Connection: 'close' }),
    ...(status === 503 && { 'Retry-After': '1' }),
    'Content-Type': 'application/problem+json; charset=utf-8',
    'X-Request-Id': traceId,
  });
  response.end(JSON.stringify(problem));
}
