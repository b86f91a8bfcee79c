import { type OutgoingMessage, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { ConnectionError } from 'fastify';
import { type Problem } from '../kernel/http/problem';
import { newId } from '../kernel/ids';
import { errorHeaders } from './security-headers';

interface Finding {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
}

/** By the code of the error that Node's HTTP server gives. */
const findings: Readonly<Record<string, Finding>> = {
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: 408,
    code: 'request-timeout',
    detail: 'The request did not arrive in time. Send it again.',
  },
  HPE_HEADER_OVERFLOW: {
    status: 431,
    code: 'headers-too-large',
    detail: 'The request line and the headers together are larger than 16 KiB.',
  },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    status: 413,
    code: 'chunk-extensions-too-large',
    detail: 'The extensions of the chunks are larger than 16 KiB.',
  },
};

const malformed: Finding = {
  status: 400,
  code: 'malformed-http',
  detail: 'What was received is not a valid HTTP/1.1 request.',
};

/** Answers what Node's HTTP server refuses before there is a request: bytes that are no HTTP, and those that come too late. */
export function answerUnreadable(error: ConnectionError, socket: Socket): void {
  // an answer that has begun cannot be taken back
  const answering = (socket as Socket & { _httpMessage?: OutgoingMessage })._httpMessage?.headersSent;
  if (socket.writable && error.code !== 'ECONNRESET' && !answering) {
    socket.end(answer(findings[error.code] ?? malformed), () => socket.destroy());
  } else socket.destroy();
}

function answer({ status, code, detail }: Finding): string {
  const traceId = newId();
  const title = STATUS_CODES[status]!;
  const type = `https://orderloom.dev/problems/${code}`;
  const body = JSON.stringify({ type, title, status, detail, instance: '/', code, traceId } satisfies Problem);
  const headers = Object.entries({
    ...errorHeaders,
    Connection: 'close',
    'Content-Type': 'application/problem+json; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    Date: new Date().toUTCString(),
    'X-Request-Id': traceId,
  });
  return `HTTP/1.1 ${status} ${title}\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`;
}
