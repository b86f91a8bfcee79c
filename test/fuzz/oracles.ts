import type { Json } from '../support/api';
import { type ApiDocument, documentedBody, isDocumented, type Operation, type Schema } from './document';

/** What is wrong with an answer, or with what it left behind. */
export interface Fault {
  readonly oracle: string;
  readonly detail: string;
}

/** What was sent, as far as it matters for the answer. */
export interface Question {
  readonly operation: Operation;
  readonly method: string;
  /** Whether its address and method are those of the operation. */
  readonly routed: boolean;
  /** Seconds that it asked to wait for, `Prefer: wait`. */
  readonly waitSeconds: number;
}

export interface Answered {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

export const slowMs = 2000;
/** Of whatever is not a list. */
export const maxBytes = 100_000;
/** Of one thing that has lists in it, such as the lines of an order. */
export const maxBytesWithLists = 1_000_000;

/** Everything that can be told from one answer. */
export function judge(document: ApiDocument, question: Question, answer: Answered): Fault[] {
  return [
    ...serverErrors(question, answer),
    ...undocumented(document, question, answer),
    ...malformedProblems(question, answer),
    ...oversized(document, question, answer),
    ...leaks(answer),
    ...misshapen(document, question, answer),
  ];
}

function serverErrors({ routed }: Question, { status, headers }: Answered): Fault[] {
  if (status < 500) return [];
  // a method or a version that HTTP, or this server, does not have
  if (!routed && (status === 501 || status === 505)) return [];
  if (status !== 503) return [{ oracle: 'no 5xx but 503', detail: `status ${status}` }];
  return /^\d+$/.test(headers.get('retry-after') ?? '')
    ? []
    : [{ oracle: '503 has Retry-After', detail: 'it has none' }];
}

/** For a path or method that is not the operation's: what any operation may answer, and that there is none. */
const unrouted = [404, 405, 501, 505];

function undocumented(
  { operations }: ApiDocument,
  { operation, routed }: Question,
  { status, headers }: Answered,
): Fault[] {
  if (status === 429 && headers.has('retry-after')) return [];
  const known = routed
    ? isDocumented(operation, status)
    : unrouted.includes(status) || operations.some((each) => isDocumented(each, status));
  return known ? [] : [{ oracle: 'the status is documented', detail: `status ${status} is not` }];
}

const problemMembers = ['type', 'title', 'detail', 'instance', 'code', 'traceId'];

function malformedProblems({ method }: Question, { status, headers, body }: Answered): Fault[] {
  if (status < 400 || method === 'HEAD') return [];
  const oracle = 'an error is a problem (RFC 9457)';
  const type = headers.get('content-type') ?? 'nothing';
  if (!/^application\/problem\+json(;|$)/.test(type)) return [{ oracle, detail: `its content type is ${type}` }];
  const problem = parsed(body) as Record<string, unknown> | undefined;
  if (typeof problem !== 'object' || problem === null) return [{ oracle, detail: 'its body is no JSON object' }];
  const missing = problemMembers.filter((name) => typeof problem[name] !== 'string' || problem[name] === '');
  if (missing.length > 0) return [{ oracle, detail: `it has no ${missing.join(', ')}` }];
  if (problem['status'] !== status)
    return [{ oracle, detail: `status ${status}, in its body ${String(problem['status'])}` }];
  const trace = headers.get('x-request-id');
  // the answer to an earlier request, as it was
  if (headers.get('idempotent-replayed') === 'true') return [];
  if (trace !== undefined && trace !== problem['traceId'])
    return [{ oracle, detail: 'its traceId is not its X-Request-Id' }];
  return [];
}

function oversized(document: ApiDocument, { operation }: Question, { status, body }: Answered): Fault[] {
  const schema = status < 300 ? [...(documentedBody(operation, status)?.values() ?? [])][0] : undefined;
  if (body.length <= maxBytes || isList(document, schema)) return [];
  // metrics are lines of text
  const lists = schema?.['type'] === 'string' || hasLists(document, schema, 3);
  const bound = status < 300 && lists ? maxBytesWithLists : maxBytes;
  return body.length <= bound ? [] : [{ oracle: 'an answer is small', detail: `${body.length} bytes` }];
}

function isList(document: ApiDocument, schema: Schema | undefined): boolean {
  const resolved = document.resolve(schema ?? {});
  return (
    resolved['type'] === 'array' || document.resolve((resolved['properties']?.data ?? {}) as Schema)['type'] === 'array'
  );
}

function hasLists(document: ApiDocument, schema: Schema | undefined, depth: number): boolean {
  const resolved = document.resolve(schema ?? {});
  if (resolved['type'] === 'array') return true;
  const members = Object.values((resolved['properties'] ?? {}) as Record<string, Schema>);
  return depth > 0 && members.some((member) => hasLists(document, member, depth - 1));
}

/** Where the application, its host or its database shows. No hostile text of ours may match: see the test. */
export const leaking: Readonly<Record<string, RegExp>> = {
  'a stack trace': /\bat (?:async )?[\w.<>[\] ]+ \(?(?:file:|node:|\/)\S+:\d+:\d+|^\s+at \S+/m,
  'a path of the host': /node_modules|\/dist\/src\/|\b[\w-]+\.(?:ts|js|mjs|cjs):\d+/,
  'an error of Postgres':
    /syntax error at (?:or near|end)|violates [\w-]+ (?:constraint|policy)|(?:relation|column|function|schema) "?[\w.]+"? (?:does not exist|of relation)|invalid input syntax for|out of range for type|duplicate key value|deadlock detected|canceling statement|QueryFailedError|invalid byte sequence|permission denied for/i,
  SQL: /\b(?:select|insert into|update|delete from)\b[^"]{0,200}\b(?:event_store|gateway|orders|payments|products|users|sagas|shipping|subscriptions|personal_data)\.\w+/i,
  'a password hash': /\$argon2|argon2i?d?\b/i,
  'an address of the inside': /ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|postgres(?:ql)?:\/\//,
};

function leaks({ headers, body }: Answered): Fault[] {
  const text = `${[...headers].map(([name, value]) => `${name}: ${value}`).join('\n')}\n${body.toString()}`;
  return Object.entries(leaking).flatMap(([what, pattern]) => {
    const found = pattern.exec(text)?.[0];
    return found === undefined
      ? []
      : [{ oracle: 'nothing of the inside shows', detail: `${what}: ${found.slice(0, 200)}` }];
  });
}

function misshapen(
  document: ApiDocument,
  { operation, routed, method }: Question,
  { status, headers, body }: Answered,
): Fault[] {
  if (status >= 300 || !routed || method === 'HEAD') return [];
  const documented = documentedBody(operation, status);
  if (!documented || documented.size === 0) return [];
  const oracle = 'a body has its documented form';
  const type = (headers.get('content-type') ?? '').split(';')[0]!.trim();
  const schema = documented.get(type);
  if (!schema)
    return [{ oracle, detail: `it is ${type || 'of no type'}, documented is ${[...documented.keys()].join()}` }];
  if (type !== 'application/json') return [];
  const json = parsed(body);
  if (json === undefined) return [{ oracle, detail: 'it is no JSON' }];
  return misfits(document, schema, json, '')
    .slice(0, 1)
    .map((detail) => ({ oracle, detail }));
}

/** Where a value departs from a schema: types, required members and enumerations; formats and limits are not looked at. */
export function misfits(document: ApiDocument, schema: Schema, value: Json, at: string): string[] {
  const resolved = document.resolve(schema);
  const { type, enum: allowed, nullable, required = [], properties = {}, items, oneOf, anyOf } = resolved;
  const alternatives = (oneOf ?? anyOf) as Schema[] | undefined;
  if (alternatives) {
    return alternatives.some((each) => misfits(document, each, value, at).length === 0)
      ? []
      : [`${at} is none of its forms`];
  }
  if (value === null) return nullable || type === undefined || type === 'null' ? [] : [`${at} is null`];
  const types = ([] as string[]).concat((type as string | string[] | undefined) ?? []);
  const actual = Array.isArray(value) ? 'array' : typeof value;
  const fits =
    types.length === 0 || types.some((each) => each === actual || (each === 'integer' && Number.isInteger(value)));
  if (!fits) return [`${at} is ${actual}, documented is ${types.join()}`];
  if (Array.isArray(allowed) && !(allowed as unknown[]).includes(value)) return [`${at} is ${JSON.stringify(value)}`];
  if (Array.isArray(value)) {
    return value.slice(0, 100).flatMap((item, nth) => misfits(document, (items ?? {}) as Schema, item, `${at}/${nth}`));
  }
  if (actual !== 'object') return [];
  const missing = (required as string[])
    .filter((name) => value[name] === undefined)
    .map((name) => `${at} has no ${name}`);
  const members = Object.entries(properties as Record<string, Schema>).filter(([name]) => value[name] !== undefined);
  return [...missing, ...members.flatMap(([name, member]) => misfits(document, member, value[name], `${at}/${name}`))];
}

/** @param alone how long the same request took with nothing beside it */
export function slowness({ waitSeconds }: Question, ms: number, alone?: number): Fault[] {
  const bound = slowMs + waitSeconds * 1000;
  if (ms <= bound || (alone !== undefined && alone <= bound)) return [];
  return [
    {
      oracle: 'an answer takes 2 s at most',
      detail: `${Math.round(ms)} ms${alone === undefined ? '' : `, alone ${Math.round(alone)} ms`}`,
    },
  ];
}

export interface LoggedEvent {
  readonly position: number;
  readonly eventType: string;
  readonly correlationId: string | null;
}

/** @param refused names of the requests that were answered 4xx, by their X-Request-Id */
export function eventsOfRefused(events: readonly LoggedEvent[], refused: ReadonlyMap<string, string>): Fault[] {
  return events.flatMap(({ position, eventType, correlationId }) => {
    const request = refused.get(correlationId ?? '');
    if (request === undefined) return [];
    return [
      { oracle: 'a refused request appends no event', detail: `${request} appended ${eventType} at ${position}` },
    ];
  });
}

export interface TableChange {
  readonly table: string;
  readonly detail: string;
}

export function rowsOfRefused(changes: readonly TableChange[], exempt: Readonly<Record<string, string>>): Fault[] {
  return changes
    .filter(({ table }) => !(table in exempt))
    .map(({ table, detail }) => ({ oracle: 'a refused request changes no row', detail: `${table}: ${detail}` }));
}

export function errorsInLog(output: string): Fault[] {
  return output
    .split('\n')
    .filter((line) => /\bERROR\b|\bFATAL\b|"level":"(error|fatal)"|UnhandledPromise|uncaughtException/.test(line))
    .map((line) => ({ oracle: 'the log has no error', detail: line.slice(0, 500) }));
}

function parsed(body: Buffer): Json {
  try {
    return JSON.parse(body.toString()) as unknown;
  } catch {
    return undefined;
  }
}
