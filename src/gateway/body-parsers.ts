import { isUtf8 } from 'node:buffer';
import type { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ProblemError } from '../kernel/http/problem';
import { assertFewValues, maxMembers, tooManyMembers } from './request-limits';

const json = 'application/json';
const form = 'application/x-www-form-urlencoded';

/** JSON and, for OAuth2 clients, forms; both in UTF-8 and uncompressed. Anything else is answered with 415, unread. */
export function parseBodies(adapter: FastifyAdapter, bodyLimit: number): void {
  const fastify = adapter.getInstance<FastifyInstance>();
  const parseJson = fastify.getDefaultJsonParser('error', 'error');
  const options = { bodyLimit };
  fastify.removeContentTypeParser('text/plain');
  adapter.useBodyParser(json, false, options, (request, body, done) => {
    assertFewValues(body);
    void parseJson(request, decoded(body), done);
  });
  adapter.useBodyParser(form, false, options, (_request, body, done) => {
    done(null, parseForm(decoded(body)));
  });
  fastify.addHook('onRequest', (request, _reply, done) => {
    const { headers } = request;
    const hasBody = Number(headers['content-length']) > 0 || headers['transfer-encoding'] !== undefined;
    if (!hasBody || request.method === 'GET' || request.method === 'HEAD') return done();
    const encoding = headers['content-encoding'] ?? 'identity';
    if (encoding.toLowerCase() !== 'identity') return done(encoded(encoding));
    const type = headers['content-type']?.split(';', 1)[0]!.trim().toLowerCase();
    done(type === json || type === form ? undefined : otherType(request));
  });
}

/** With what can be sent instead, in the headers that clients look at (RFC 9110, 15.5.16; LDP 1.0, 7.1; RFC 5789, 3.1). */
function otherType({ method, headers }: FastifyRequest): ProblemError {
  const type = headers['content-type'];
  const detail = !type
    ? 'The body has no Content-Type. Send it with Content-Type: application/json.'
    : `The body is ${type}, which is not read. Send it as application/json.`;
  return new ProblemError(
    415,
    'invalid-media-type',
    detail,
    {},
    {
      Accept: json,
      ...(method === 'POST' && { 'Accept-Post': json }),
      ...(method === 'PATCH' && { 'Accept-Patch': json }),
    },
  );
}

function encoded(encoding: string): ProblemError {
  const detail = `The body is encoded as ${encoding}, which is not read. Send it without Content-Encoding.`;
  return new ProblemError(415, 'encoding-unsupported', detail, {}, { 'Accept-Encoding': 'identity' });
}

/** Buffer.toString would put U+FFFD in the place of what is not UTF-8, and store that. */
function decoded(body: Buffer): string {
  if (isUtf8(body)) return body.toString();
  throw new ProblemError(400, 'malformed-encoding', 'The body is not valid UTF-8.');
}

/** Members of an `application/x-www-form-urlencoded` body; one that is repeated becomes a list. */
function parseForm(text: string): Record<string, string | string[]> {
  const pairs = text.split('&', maxMembers + 1);
  if (pairs.length > maxMembers) throw tooManyMembers('form');
  // without a prototype, so that no name means anything else
  const form = Object.create(null) as Record<string, string | string[]>;
  for (const pair of pairs) {
    if (pair === '') continue;
    const end = pair.indexOf('=');
    const name = decodedComponent(end < 0 ? pair : pair.slice(0, end));
    const value = end < 0 ? '' : decodedComponent(pair.slice(end + 1));
    const earlier = form[name];
    form[name] = earlier === undefined ? value : [earlier, value].flat();
  }
  return form;
}

function decodedComponent(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw new ProblemError(400, 'malformed-encoding', 'The form is not percent-encoded UTF-8.');
  }
}
