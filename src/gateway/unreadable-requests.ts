import { type OutgoingMessage, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { ConnectionError, FastifyInstance } from 'fastify';
import { type Problem } from '../kernel/http/problem';
import { newId } from '../kernel/ids';
import { errorHeaders } from './security-headers';

interface Finding {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const malformed = (detail = 'What was received is not a valid HTTP/1.1 request.'): Finding => {
  return { status: 400, code: 'malformed-http', detail };
};

const otherVersion: Finding = {
  status: 505,
  code: 'http-version-unsupported',
  detail: 'This server takes HTTP/1.1 and HTTP/1.0.',
};

const twoLengths = malformed('Send one Content-Length, or Transfer-Encoding: chunked, and not both.');

/** In the order of the alphabet, as `Allow` has them elsewhere. */
const methods = 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT';

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
  HPE_INVALID_VERSION: otherVersion,
  HPE_PAUSED_H2_UPGRADE: otherVersion,
  HPE_UNEXPECTED_CONTENT_LENGTH: twoLengths,
  HPE_INVALID_TRANSFER_ENCODING: twoLengths,
  HPE_INVALID_CONTENT_LENGTH: malformed('Content-Length must be the number of bytes of the body.'),
  HPE_INVALID_CHUNK_SIZE: malformed('A chunk of the body has no valid size.'),
  HPE_INVALID_URL: malformed('The address is not percent-encoded: encode it as RFC 3986 describes.'),
  HPE_INVALID_HEADER_TOKEN: malformed('A header has a character that headers must not have.'),
};

/** Answers what Node's HTTP server refuses before there is a request: bytes that are no HTTP, and those that come too late. */
export function answerUnreadable(error: ConnectionError, socket: Socket): void {
  // an answer that has begun cannot be taken back
  const answering = (socket as Socket & { _httpMessage?: OutgoingMessage })._httpMessage?.headersSent;
  if (socket.writable && error.code !== 'ECONNRESET' && !answering) {
    socket.end(answer(findingOf(error)), () => socket.destroy());
  } else socket.destroy();
}

/** Node hands CONNECT over with the bare connection, and without a listener closes it at once. */
export function refuseTunnels({ server }: Pick<FastifyInstance, 'server'>): void {
  server.on('connect', (_request, socket) => {
    socket.on('error', () => undefined);
    socket.end(answer(unknownMethod('CONNECT')), () => socket.destroy());
  });
}

function findingOf({ code, rawPacket }: ConnectionError): Finding {
  if (code !== 'HPE_INVALID_METHOD') return findings[code] ?? malformed();
  // a request line with a method that Node does not know; anything else is no HTTP at all
  const text = Buffer.isBuffer(rawPacket) ? rawPacket.toString('latin1') : '';
  const [, method] = /^([!#$%&'*+.^_`|~\w-]{1,50}) \S+ HTTP\/1\.[01]\r?\n/.exec(text) ?? [];
  return method === undefined ? malformed() : unknownMethod(method);
}

function unknownMethod(method: string): Finding {
  const detail = `This server has no method ${method}. It has ${methods}.`;
  return { status: 501, code: 'method-unknown', detail, headers: { Allow: methods } };
}

function answer({ status, code, detail, headers: own }: Finding): string {
  const traceId = newId();
  const title = STATUS_CODES[status]!;
  const type = `https://orderloom.dev/problems/${code}`;
  const body = JSON.stringify({ type, title, status, detail, instance: '/', code, traceId } satisfies Problem);
  const headers = Object.entries({
    ...errorHeaders,
    ...own,
    Connection: 'close',
    'Content-Type': 'application/problem+json; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    Date: new Date().toUTCString(),
    'X-Request-Id': traceId,
  });
  return `HTTP/1.1 ${status} ${title}\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`;
}
