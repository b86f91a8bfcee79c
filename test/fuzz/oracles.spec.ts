import { names, numbers, texts } from './atoms';
import { ApiDocument, type Operation } from './document';
import { encode, type Draft } from './draft';
import {
  type Answered,
  errorsInLog,
  eventsOfRefused,
  judge,
  leaking,
  type Question,
  rowsOfRefused,
  slowness,
} from './oracles';
import { Report } from './report';

const thing = {
  type: 'object',
  required: ['id', 'lines'],
  properties: {
    id: { type: 'string' },
    note: { type: 'string', nullable: true },
    status: { type: 'string', enum: ['draft', 'placed'] },
    lines: { type: 'array', items: { $ref: '#/components/schemas/Line' } },
  },
};
const line = { type: 'object', required: ['quantity'], properties: { quantity: { type: 'integer' } } };
const small = { type: 'object', properties: { id: { type: 'string' } } };
const page = { properties: { data: { type: 'array', items: thing }, page: { type: 'object' } } };
const answers = (schema: object) => ({
  '200': { description: '', content: { 'application/json': { schema } } },
  '404': { description: '', content: { 'application/problem+json': {} } },
  '500': { description: '' },
  '503': { description: '' },
});
const document = new ApiDocument({
  openapi: '3.0.0',
  info: { title: 'Things', version: '1' },
  components: { schemas: { Line: line } },
  paths: {
    '/things/{id}': { get: { operationId: 'getThing', responses: answers(thing) } },
    '/small': { get: { operationId: 'getSmall', responses: answers(small) } },
    '/things': { get: { operationId: 'listThings', responses: answers(page) } },
  },
});
const [getThing, getSmall, listThings] = document.operations as [Operation, Operation, Operation];

const asked: Question = { operation: getThing, method: 'GET', routed: true, waitSeconds: 0 };
const problem = {
  type: 'https://example.com/unknown',
  title: 'Not Found',
  status: 404,
  detail: 'There is no such thing.',
  instance: '/things/1',
  code: 'unknown',
  traceId: 'trace-1',
};

function answer(status: number, body: unknown, headers: Record<string, string> = {}): Answered {
  const type = status < 400 ? 'application/json; charset=utf-8' : 'application/problem+json; charset=utf-8';
  const all = { 'content-type': type, 'x-request-id': 'trace-1', ...headers };
  return {
    status,
    headers: new Map(Object.entries(all).filter(([, value]) => value !== '')),
    body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
  };
}

const ok = { id: '1', note: null, status: 'draft', lines: [{ quantity: 1 }] };
const found = (given: Answered, question: Partial<Question> = {}) =>
  judge(document, { ...asked, ...question }, given).map(({ oracle }) => oracle);

describe('the oracles of the fuzzer', () => {
  it.each([
    ['a success', answer(200, ok)],
    ['a problem', answer(404, problem)],
    ['a busy server', answer(503, { ...problem, status: 503 }, { 'retry-after': '1' })],
    ['a rate limit', answer(429, { ...problem, status: 429 }, { 'retry-after': '1' })],
    ['a replayed problem', answer(404, problem, { 'x-request-id': 'trace-2', 'idempotent-replayed': 'true' })],
    ['a thing with many lines', answer(200, { ...ok, lines: Array.from({ length: 10_000 }, () => ({ quantity: 1 })) })],
  ])('let %s pass', (_, given) => {
    expect(found(given)).toEqual([]);
  });

  it.each<[string, string, Answered, Partial<Question>?]>([
    ['a 500', 'no 5xx but 503', answer(500, { ...problem, status: 500 })],
    ['a 503 without Retry-After', '503 has Retry-After', answer(503, { ...problem, status: 503 })],
    ['an undocumented status', 'the status is documented', answer(418, { ...problem, status: 418 })],
    ['a 429 without Retry-After', 'the status is documented', answer(429, { ...problem, status: 429 })],
    [
      'a status that no operation has',
      'the status is documented',
      answer(418, { ...problem, status: 418 }),
      { routed: false },
    ],
    [
      'an error in plain JSON',
      'an error is a problem (RFC 9457)',
      answer(404, problem, { 'content-type': 'application/json' }),
    ],
    ['an error of no type', 'an error is a problem (RFC 9457)', answer(404, problem, { 'content-type': '' })],
    ['an error without detail', 'an error is a problem (RFC 9457)', answer(404, { ...problem, detail: undefined })],
    [
      'an error with another status within',
      'an error is a problem (RFC 9457)',
      answer(404, { ...problem, status: 400 }),
    ],
    [
      'an error with another trace',
      'an error is a problem (RFC 9457)',
      answer(404, { ...problem, traceId: 'trace-2' }),
    ],
    ['an error that is no JSON', 'an error is a problem (RFC 9457)', answer(404, 'Not found')],
    ['a large error', 'an answer is small', answer(404, { ...problem, errors: ['x'.repeat(100_000)] })],
    ['a large answer', 'an answer is small', answer(200, { id: 'x'.repeat(100_000) }), { operation: getSmall }],
    ['a very large thing with lines', 'an answer is small', answer(200, { ...ok, note: 'x'.repeat(1_000_000) })],
    [
      'a stack trace',
      'nothing of the inside shows',
      answer(200, { ...ok, note: 'Error\n    at find (/app/x.js:1:2)' }),
    ],
    ['a file of ours', 'nothing of the inside shows', answer(404, { ...problem, detail: 'in order.ts:12' })],
    [
      'an error of Postgres',
      'nothing of the inside shows',
      answer(404, { ...problem, detail: 'syntax error at or near "x"' }),
    ],
    ['a statement', 'nothing of the inside shows', answer(404, { ...problem, detail: 'select * from users.users' })],
    ['a password hash', 'nothing of the inside shows', answer(200, { ...ok, note: '$argon2id$v=19$m=19456' })],
    ['a leak in a header', 'nothing of the inside shows', answer(200, ok, { 'x-error': 'connect ECONNREFUSED' })],
    ['a missing member', 'a body has its documented form', answer(200, { lines: [] })],
    ['a member of another type', 'a body has its documented form', answer(200, { ...ok, id: 1 })],
    ['a fraction for an integer', 'a body has its documented form', answer(200, { ...ok, lines: [{ quantity: 1.5 }] })],
    [
      'a value that is not in the enumeration',
      'a body has its documented form',
      answer(200, { ...ok, status: 'lost' }),
    ],
    ['null for what is not nullable', 'a body has its documented form', answer(200, { ...ok, id: null })],
    ['a success that is no JSON', 'a body has its documented form', answer(200, 'Oops')],
    ['a success of another type', 'a body has its documented form', answer(200, ok, { 'content-type': 'text/html' })],
  ])('catch %s', (...row) => {
    // not as four parameters: for a row of three, Jest would pass a callback as the fourth
    const [, oracle, given, question] = row;
    expect([...new Set(found(given, question))]).toEqual([oracle]);
  });

  it('let a long list pass', () => {
    const data = Array.from({ length: 100 }, () => ({ ...ok, note: 'x'.repeat(2000) }));
    expect(found(answer(200, { data, page: {} }), { operation: listThings })).toEqual([]);
  });

  it('catch what is slow, if it is slow alone as well', () => {
    const oracle = 'an answer takes 2 s at most';
    expect(slowness(asked, 1900)).toEqual([]);
    expect(slowness(asked, 2100, 1000)).toEqual([]);
    expect(slowness(asked, 2100, 2100)).toMatchObject([{ oracle }]);
    expect(slowness({ ...asked, waitSeconds: 2 }, 3900)).toEqual([]);
    expect(slowness({ ...asked, waitSeconds: 2 }, 4100)).toMatchObject([{ oracle }]);
  });

  it('catch an event of a refused request', () => {
    const event = { position: 7, eventType: 'order.created', correlationId: 'trace-1' };
    expect(eventsOfRefused([event], new Map([['trace-2', 'POST /orders']]))).toEqual([]);
    expect(eventsOfRefused([{ ...event, correlationId: null }], new Map([['trace-1', 'POST /orders']]))).toEqual([]);
    expect(eventsOfRefused([event], new Map([['trace-1', 'POST /orders']]))).toMatchObject([
      { oracle: 'a refused request appends no event', detail: 'POST /orders appended order.created at 7' },
    ]);
  });

  it('catch a row that a refused request changed, unless the table is exempt', () => {
    const change = { table: 'users.users', detail: '1 rows more' };
    expect(rowsOfRefused([change], { 'users.users': 'for a reason' })).toEqual([]);
    expect(rowsOfRefused([change], { 'users.keys': 'for a reason' })).toHaveLength(1);
  });

  it('catch an error in the log', () => {
    const lines = [
      '[10:00:00] WARN: Http: busy',
      '{"level":"info","msg":"ERRORS: none"}',
      '[10:00:01] ERROR: Http: failed',
    ];
    expect(errorsInLog(lines.join('\n'))).toMatchObject([{ detail: lines[2] }]);
    expect(errorsInLog('{"level":"error","msg":"x"}')).toHaveLength(1);
  });

  it('take no hostile text of ours for a leak', () => {
    for (const text of [...texts, ...names, ...numbers]) {
      for (const [what, pattern] of Object.entries(leaking)) {
        expect({ what, text, taken: pattern.test(JSON.stringify({ text }) + text) }).toMatchObject({ taken: false });
      }
    }
  });
});

describe('the report of the fuzzer', () => {
  const log = jest.spyOn(console, 'log').mockImplementation(() => undefined);
  afterAll(() => log.mockRestore());
  const said = () => log.mock.calls.flat().join('\n');

  it('counts each kind of failure once, and shows how to repeat it', () => {
    const report = new Report(5, 'http://127.0.0.1:1');
    const draft: Draft = {
      nth: 12,
      operation: getThing,
      actor: {
        name: 'customer 1',
        role: 'customer',
        token: 'a.b.c',
        etags: new Map(),
        history: ['#3 → 200', '#12 → 500'],
      },
      method: 'GET',
      path: '/things/1',
      query: [['x', "'"]],
      headers: [['Authorization', 'Bearer a.b.c']],
      contentType: undefined,
      body: undefined,
      bytes: undefined,
      distort: undefined,
      abort: false,
      routed: true,
      authentic: true,
      mutations: [],
      used: [],
    };
    const sent = encode(draft, '127.0.0.1:1');
    const reply = { ...answer(500, 'Oops'), ms: 3 };
    for (const trace of ['1', '2']) report.fail({ oracle: 'no 5xx but 503', detail: `trace ${trace}` }, sent, reply);
    expect(report.count).toBe(1);
    report.print(document.operations, {});
    expect(said()).toContain('GET /things/{id} → 500 (2)');
    expect(said()).toContain(`-X GET 'http://127.0.0.1:1/things/1?x='\\'''`);
    expect(said()).toContain('-H "Authorization: Bearer $CUSTOMER_TOKEN"');
    expect(said()).toContain('#3 → 200');
    expect(said()).toContain('--seed 5');
  });

  it('names the operations that were never carried out, unless there is a reason', () => {
    const report = new Report(5, 'http://127.0.0.1:1');
    report.saw(getThing, 200);
    report.saw(listThings, 404);
    expect(report.unreached(document.operations, { getSmall: 'for a reason' })).toMatchObject([
      { detail: expect.stringContaining('listThings') },
    ]);
  });
});
