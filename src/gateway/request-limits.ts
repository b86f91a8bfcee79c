import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ProblemError } from '../kernel/http/problem';
import { isNormalisable, isStorable } from '../kernel/http/text';

/** No request of ours is nested half as deep. Everything after this check may walk a body by recursion. */
const maxDepth = 20;

/** The longest list that a request takes is the lines of an order. */
export const maxElements = 1000;

/** The widest body, that of a new order, has 8 members. class-transformer is quadratic in them. */
export const maxMembers = 100;

/** An order of 1,000 lines, each with a price of its own, has about 6,000 values. */
const maxValues = 10_000;

/**
 * Refuses, before validation, what nothing after it should have to bear: bodies that are too deep, too wide or too long,
 * text that cannot be stored, and members that every object has anyway, such as `constructor`, which validation does
 * not see. A body of 1 MiB within these limits is transformed and validated in a few milliseconds.
 */
export function limitRequests(fastify: FastifyInstance): void {
  fastify.addHook('onRequest', (request, _reply, done) => {
    const { headers } = request;
    // Many clients name a content type also when they send no body, such as for a POST that needs none.
    if (!Number(headers['content-length']) && !headers['transfer-encoding']) delete headers['content-type'];
    done(malformedHead(request));
  });
  fastify.addHook('preValidation', (request, _reply, done) => {
    try {
      assertBearable('path', request.params);
      assertBearable('query', request.query);
      assertBearable('body', request.body);
      done();
    } catch (error) {
      done(error as Error);
    }
  });
}

function assertBearable(part: string, whole: unknown): void {
  let values = 1;
  let level = [whole];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > maxDepth) throw tooMuch('body-too-deep', `The ${part} is nested more than ${maxDepth} levels deep.`);
    const next: unknown[] = [];
    for (const value of level) {
      if (typeof value === 'string') assertText(value);
      if (typeof value === 'number' && !Number.isFinite(value)) throw tooMuch('number-too-large', tooLarge(part));
      if (typeof value !== 'object' || value === null) continue;
      const members = Array.isArray(value) ? elementsOf(part, value) : membersOf(part, value);
      values += members.length;
      if (values > maxValues) throw tooManyValues(part);
      next.push(...members);
    }
    level = next;
  }
}

/**
 * The same limit before JSON is parsed: 1 MiB of `{},` becomes 20 MB of objects, which a small heap has not got. It
 * counts what is certain (a comma outside of text stands before a value, a bracket opens one); the rest is found after.
 */
export function assertFewValues(json: Buffer): void {
  if (json.length <= maxValues) return;
  let commas = 0;
  let opened = 0;
  let inText = false;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at];
    if (byte === quote) inText = !inText;
    else if (inText) at += byte === backslash ? 1 : 0;
    else if (byte === comma) commas++;
    else if (byte === brace || byte === bracket) opened++;
  }
  if (Math.max(commas, opened) > maxValues) throw tooManyValues('body');
}

const [quote, backslash, comma, brace, bracket] = Buffer.from('"\\,{[');

function elementsOf(part: string, list: unknown[]): unknown[] {
  if (list.length <= maxElements) return list;
  throw tooMuch('too-many-elements', `The ${part} has more than ${maxElements} elements in one list.`);
}

function membersOf(part: string, value: object): unknown[] {
  const names = Object.keys(value);
  if (names.length > maxMembers) throw tooManyMembers(part);
  for (const name of names) {
    assertText(name);
    if (name in Object.prototype) throw new ProblemError(400, 'member-reserved', `${name} should not exist.`);
  }
  return Object.values(value);
}

export function tooManyMembers(part: string): ProblemError {
  return tooMuch('too-many-members', `The ${part} has more than ${maxMembers} members in one object.`);
}

function tooManyValues(part: string): ProblemError {
  return tooMuch('too-many-values', `The ${part} has more than ${maxValues} values, counting every object and list.`);
}

/** JSON.parse makes Infinity of 1e400, which JSON cannot say (RFC 7493, 2.2). */
function tooLarge(part: string): string {
  return `The ${part} has a number that a double cannot hold: at most 1.7976931348623157e308.`;
}

function tooMuch(code: string, detail: string): ProblemError {
  return new ProblemError(400, code, detail);
}

function assertText(text: string): void {
  if (!isStorable(text)) {
    throw new ProblemError(400, 'unstorable-text', 'Text with a NUL or half a character cannot be stored.');
  }
  if (!isNormalisable(text)) {
    throw new ProblemError(400, 'unstorable-text', 'Text has more than 30 combining marks in a row.');
  }
}

/** The router refuses such a path itself, but leaves a query that it cannot decode as it stands. */
function isEncodedText(url: string): boolean {
  if (/[^\x21-\x7e]/.test(url)) return false;
  const query = url.indexOf('?');
  if (query < 0 || !url.includes('%', query)) return true;
  try {
    decodeURIComponent(url.slice(query + 1));
    return true;
  } catch {
    return false;
  }
}

function malformedHead({ url, raw }: FastifyRequest): ProblemError | undefined {
  if (raw.headers.host === undefined && raw.httpVersion === '1.1') {
    return new ProblemError(400, 'host-missing', 'HTTP/1.1 requires a Host header.');
  }
  // RFC 9112, 3.2. Node keeps the first, a proxy before it perhaps the last.
  if (raw.rawHeaders.filter((text, nth) => nth % 2 === 0 && text.toLowerCase() === 'host').length > 1) {
    return new ProblemError(400, 'host-ambiguous', 'The request has more than one Host header.');
  }
  if (isEncodedText(url)) return undefined;
  return new ProblemError(400, 'bad-url', 'The query is not percent-encoded UTF-8: encode it as RFC 3986 describes.');
}
