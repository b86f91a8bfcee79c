import { isUtf8 } from 'node:buffer';
import type { FastifyAdapter } from '@nestjs/platform-fastify';
import { ProblemError } from '../kernel/http/problem';
import { assertFewValues, maxBodyBytes, maxMembers, tooManyMembers } from './request-limits';

/** JSON and, for OAuth2 clients, forms; both in UTF-8. Anything else is answered with 415. */
export function parseBodies(adapter: FastifyAdapter): void {
  const fastify = adapter.getInstance();
  const parseJson = fastify.getDefaultJsonParser('error', 'error');
  const options = { bodyLimit: maxBodyBytes };
  fastify.removeContentTypeParser('text/plain');
  adapter.useBodyParser('application/json', false, options, (request, body, done) => {
    assertFewValues(body);
    void parseJson(request, decoded(body), done);
  });
  adapter.useBodyParser('application/x-www-form-urlencoded', false, options, (_request, body, done) => {
    done(null, parseForm(decoded(body)));
  });
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
