import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import type { Json } from '../support/api';
import { atom, deep, long, names, numbers, size, texts, wide } from './atoms';
import type { Dice } from './dice';
import { type Draft, header, json, Raw, setHeader } from './draft';
import type { Choices } from './values';

/** One thing that is wrong with a request. */
export interface Mutation {
  readonly name: string;
  readonly share: number;
  /** Costs the server work by its size alone: at most one of them in a request. */
  readonly heavy?: boolean;
  readonly fits?: (draft: Draft) => boolean;
  readonly apply: (draft: Draft, choices: Choices) => void;
}

const hasBody = (draft: Draft) => draft.body !== undefined;
const hasJson = (draft: Draft) => hasBody(draft) && !/urlencoded/.test(draft.contentType ?? '');
const hasMembers = (draft: Draft) => hasBody(draft) && placesIn(draft.body).length > 0;
const hasParameter = (draft: Draft) => draft.operation.path.includes('{');
const documentsQuery = (draft: Draft) => draft.operation.parameters.some((parameter) => parameter.in === 'query');

/** Wherever something stands in a body: the object or array, and the name or index. */
function placesIn(body: Json): { holder: Json; key: string }[] {
  if (typeof body !== 'object' || body === null || body instanceof Raw) return [];
  return Object.keys(body as object).flatMap((key) => [{ holder: body, key }, ...placesIn(body[key])]);
}

function replaceSomewhere(draft: Draft, dice: Dice, value: Json): void {
  const { holder, key } = dice.pick(placesIn(draft.body));
  holder[key] = value;
}

function addSomewhere(draft: Draft, dice: Dice, name: string, value: string): void {
  // as text: `__proto__` would otherwise set the prototype
  const objects = [draft.body, ...placesIn(draft.body).map(({ holder, key }) => holder[key])].filter(
    (each: Json) => typeof each === 'object' && each !== null && !Array.isArray(each) && !(each instanceof Raw),
  );
  const target = dice.pick(objects) as Record<string, Json> | undefined;
  if (!target) return;
  const others = json(target);
  const text = `{${JSON.stringify(name)}:${value}${others === '{}' ? '}' : `,${others.slice(1)}`}`;
  if (target === draft.body) draft.bytes = Buffer.from(text);
  else replaceThing(draft, target, new Raw(text));
}

function replaceThing(draft: Draft, thing: Json, value: Json): void {
  const place = placesIn(draft.body).find(({ holder, key }) => holder[key] === thing);
  if (place) place.holder[place.key] = value;
}

const base64url = (value: Json) => Buffer.from(typeof value === 'string' ? value : json(value)).toString('base64url');

/** Cursors that nobody was given. */
function cursor(dice: Dice): string {
  return dice.pick([
    () => base64url(new Raw(`[${dice.pick(numbers)}]`)),
    () => base64url(new Raw('[-9007199254740991]')),
    () => base64url(new Raw('[-9007199254740992]')),
    () => base64url([dice.pick(texts)]),
    () => base64url([dice.uuid()]),
    () => base64url([dice.uuid(), dice.integer(0, 100)]),
    () => base64url([[[]]]),
    () => base64url(new Raw('{"length":1,"0":1}')),
    () => base64url(deep(dice)).slice(0, 12_000),
    () => base64url('x'.repeat(size(dice, 9000))),
    () => dice.text(size(dice, 9000)),
    () => '%00',
    () => 'bnVsbA',
  ])();
}

export const mutations: readonly Mutation[] = [
  // bodies
  {
    name: 'a hostile value',
    share: 14,
    fits: hasMembers,
    apply: (draft, { dice }) => replaceSomewhere(draft, dice, atom(dice)),
  },
  {
    name: 'an unknown member',
    share: 5,
    fits: hasJson,
    apply: (draft, { dice }) =>
      addSomewhere(draft, dice, dice.pick(names), dice.pick(['null', '1', '"x"', '{}', '[]'])),
  },
  {
    name: 'a missing member',
    share: 2,
    fits: hasMembers,
    apply(draft, { dice }) {
      const { holder, key } = dice.pick(placesIn(draft.body));
      if (Array.isArray(holder)) holder.splice(Number(key), 1);
      else delete holder[key];
    },
  },
  {
    name: 'a deep value',
    share: 3,
    heavy: true,
    fits: hasMembers,
    apply: (draft, { dice }) => replaceSomewhere(draft, dice, deep(dice)),
  },
  { name: 'a deep body', share: 2, heavy: true, fits: hasJson, apply: (draft, { dice }) => (draft.body = deep(dice)) },
  {
    name: 'a wide value',
    share: 2,
    heavy: true,
    fits: hasMembers,
    apply: (draft, { dice }) => replaceSomewhere(draft, dice, wide(dice)),
  },
  { name: 'a wide body', share: 2, heavy: true, fits: hasJson, apply: (draft, { dice }) => (draft.body = wide(dice)) },
  {
    name: 'a long array',
    share: 3,
    heavy: true,
    fits: hasMembers,
    apply: (draft, { dice }) => replaceSomewhere(draft, dice, long(dice)),
  },
  {
    name: 'an array of many valid elements',
    share: 2,
    heavy: true,
    fits: (draft) =>
      placesIn(draft.body).some(({ holder, key }) => Array.isArray(holder[key]) && holder[key].length > 0),
    apply(draft, { dice }) {
      const arrays = placesIn(draft.body).filter(
        ({ holder, key }) => Array.isArray(holder[key]) && holder[key].length > 0,
      );
      const { holder, key } = dice.pick(arrays);
      holder[key] = long(dice, json(dice.pick(holder[key] as Json[])));
    },
  },
  {
    name: 'another body',
    share: 3,
    fits: hasBody,
    apply: (draft, { dice }) => {
      const seed = dice.integer(0, 0x7fff_ffff);
      draft.bytes = Buffer.from(fc.sample(fc.json({ maxDepth: 4 }), { seed, numRuns: 1 })[0]!);
    },
  },
  {
    name: 'text that is not JSON',
    share: 3,
    fits: hasJson,
    apply(draft, { dice }) {
      const text = json(draft.body);
      draft.bytes = dice.pick([
        () => Buffer.from(text.slice(0, dice.integer(0, text.length))),
        () => Buffer.from(`${text}${dice.pick(['}', ',', '\u0000', text])}`),
        () => Buffer.from(`\ufeff${text}`),
        () => Buffer.from(text, 'utf16le'),
        () =>
          Buffer.from(dice.pick(['', ' ', 'null', '0', '"x"', 'NaN', 'undefined', '//', '{,}', "{'a':1}", '[', ']'])),
      ])();
    },
  },
  {
    name: 'bytes that are not UTF-8',
    share: 3,
    fits: hasJson,
    apply(draft, { dice }) {
      const bytes = Buffer.from(json(draft.body));
      const broken = dice.pick(['ff', 'c0af', 'eda080', 'f4908080', 'e282', '80']);
      // within a text if there is one
      const quote = bytes.indexOf(':"');
      const at = quote >= 0 && dice.chance(0.8) ? quote + 2 : dice.integer(0, bytes.length);
      draft.bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from(broken, 'hex'), bytes.subarray(at)]);
    },
  },
  {
    name: 'escapes of half characters',
    share: 2,
    fits: hasJson,
    apply: (draft, { dice }) => {
      const escapes = ['\\u0000', '\\ud800', '\\udc00\\ud800', '\\uD83D', '\\u005f\\u005fproto__', '\\uffff'];
      const value = new Raw(`"${dice.pick(escapes)}"`);
      if (hasMembers(draft)) replaceSomewhere(draft, dice, value);
      else draft.body = value;
    },
  },
  {
    name: 'a member twice',
    share: 2,
    fits: (draft) => hasJson(draft) && hasMembers(draft),
    apply(draft, { dice }) {
      const text = json(draft.body);
      const name = dice.pick(Object.keys(draft.body as object));
      draft.bytes = Buffer.from(`${text.slice(0, -1)},${JSON.stringify(name)}:${json(atom(dice))}}`);
    },
  },
  {
    name: 'a body beyond 1 MiB',
    share: 0.5,
    heavy: true,
    fits: hasBody,
    apply: (draft, { dice }) =>
      (draft.bytes = Buffer.from(JSON.stringify('x'.repeat((1 << 20) + dice.integer(-4, 500_000))))),
  },
  {
    name: 'a body where none belongs',
    share: 2,
    fits: (draft) => !hasBody(draft),
    apply(draft, { dice }) {
      draft.contentType = dice.pick(['application/json', 'application/x-www-form-urlencoded', 'text/plain']);
      draft.body = dice.pick([{ reason: 'x' }, [], { ['x'.repeat(100)]: 1 }, wide(dice), deep(dice)]) as Json;
      if (/urlencoded|plain/.test(draft.contentType)) draft.bytes = Buffer.from('a=1&a=2&b[c]=3');
    },
  },
  // forms
  {
    name: 'a wide form',
    share: 2,
    heavy: true,
    fits: hasBody,
    apply(draft, { dice }) {
      draft.contentType = 'application/x-www-form-urlencoded';
      const pair = dice.pick([
        (nth: string) => `${nth}=`,
        (nth: string) => `a[${nth}]=1`,
        () => 'a=1',
        () => 'a[]=1',
        () => '',
      ]);
      draft.bytes = Buffer.from(
        Array.from({ length: size(dice, 150_000) }, (_, nth) => pair(nth.toString(36)))
          .join('&')
          .slice(0, 1_048_000),
      );
    },
  },
  {
    name: 'a hostile form',
    share: 3,
    fits: hasBody,
    apply(draft, { dice }) {
      draft.contentType = 'application/x-www-form-urlencoded';
      const part = () =>
        dice.pick([
          'username',
          'password',
          'a',
          '%',
          '%zz',
          '%00',
          '%ff',
          '%ed%a0%80',
          '__proto__',
          'a[b]',
          'a[__proto__][b]',
          '+',
          '',
          'x'.repeat(3000),
        ]);
      draft.bytes = Buffer.from(
        Array.from({ length: dice.magnitude(30) }, () => `${part()}${dice.pick(['=', '', '=='])}${part()}`).join('&'),
      );
    },
  },
  // content types
  {
    name: 'another content type',
    share: 3,
    fits: hasBody,
    apply: (draft, { dice }) =>
      (draft.contentType = dice.pick([
        undefined,
        '',
        'text/plain',
        'text/html',
        'application/xml',
        'application/merge-patch+json',
        'application/json; charset=utf-16',
        'application/json; charset=latin1',
        'application/json;;;',
        'APPLICATION/JSON',
        'application/jsonx',
        'multipart/form-data; boundary=x',
        'multipart/form-data',
        'application/x-www-form-urlencoded',
        'application/json, text/plain',
        'a'.repeat(5000),
        '/',
        '*/*',
        '__proto__',
      ])),
  },
  {
    name: 'a compressed body',
    share: 1,
    fits: hasJson,
    apply(draft, { dice }) {
      const text = dice.chance(0.5) ? json(draft.body) : JSON.stringify('x'.repeat(10_000_000));
      draft.bytes = gzipSync(text);
      setHeader(draft, 'Content-Encoding', dice.pick(['gzip', 'GZIP', 'x-gzip', 'br', 'identity']));
    },
  },
  // queries
  {
    name: 'a hostile parameter',
    share: 7,
    fits: documentsQuery,
    apply(draft, { dice }) {
      const { name } = dice.pick(draft.operation.parameters.filter((parameter) => parameter.in === 'query'));
      const value = dice.chance(0.5) ? dice.pick(texts).slice(0, 8000) : dice.pick(numbers);
      draft.query = draft.query.filter(([each]) => each !== name).concat([[name, escape(value)]]);
    },
  },
  {
    name: 'a cursor of nobody',
    share: 5,
    fits: (draft) => draft.operation.parameters.some(({ name }) => name === 'after'),
    apply: (draft, { dice }) => {
      draft.query = draft.query.filter(([name]) => name !== 'after').concat([['after', cursor(dice)]]);
    },
  },
  {
    name: 'parameters in other forms',
    share: 5,
    apply(draft, { dice, document: _ }) {
      const known = draft.operation.parameters.filter((parameter) => parameter.in === 'query').map(({ name }) => name);
      const name = known.length > 0 && dice.chance(0.8) ? dice.pick(known) : escape(dice.pick(names).slice(0, 3000));
      const value = dice.pick([
        '1',
        'x',
        '',
        '%',
        '%zz',
        '%00',
        '%ff%fe',
        '%ed%a0%80',
        '%F0%9F%AB%96',
        '+',
        '1&',
        '&&&',
        '#x',
        '?',
      ]);
      const forms: [string, string][][] = [
        [[name, value]],
        [
          [name, value],
          [name, value],
        ],
        [[`${name}[]`, value]],
        [[`${name}[$gt]`, value]],
        [[`${name}[0][a]`, value]],
        [[`${name}.a`, value]],
        [[`%${name}`, value]],
        [['__proto__', value]],
        [['__proto__[limit]', value]],
        [['constructor', value]],
        [[`${name}%00`, value]],
      ];
      draft.query.push(...dice.pick(forms));
    },
  },
  {
    name: 'very many parameters',
    share: 1,
    heavy: true,
    apply(draft, { dice }) {
      const count = size(dice, 2500);
      const repeated = dice.chance(0.5);
      draft.query.push(
        ...Array.from({ length: count }, (_, nth): [string, string] => [repeated ? 'limit' : `p${nth}`, '1']),
      );
    },
  },
  // paths
  {
    name: 'a hostile path parameter',
    share: 6,
    fits: hasParameter,
    apply(draft, { dice }) {
      const segments = draft.operation.path.split('/');
      const parameters = segments.flatMap((segment, nth) => (segment.startsWith('{') ? [nth] : []));
      const actual = draft.path.split('/');
      const text = dice.chance(0.6) ? dice.pick(texts) : dice.pick(numbers);
      // an empty one, and dots, make another path of it
      actual[dice.pick(parameters)] = escape(text).slice(0, 15_000) || '%20';
      draft.path = actual.join('/');
      draft.routed &&= !/(^|\/)(\.|%2e){1,2}(\/|$)/i.test(draft.path);
    },
  },
  {
    name: 'another form of the path',
    share: 5,
    apply(draft, { dice }) {
      const { path } = draft;
      const at = dice.integer(1, path.length);
      draft.routed = false;
      draft.path = dice.pick([
        () => `${path}/`,
        () => `${path}//`,
        () => `/${path}`,
        () => path.replace(/\/(?=[^/]*$)/, '//'),
        () => path.toUpperCase(),
        () => path.replace('/v1', '/V1'),
        () => path.replace(/\/(?=[^/]*$)/, '%2f'),
        () => path.replace(/\/(?=[^/]*$)/, '%5c'),
        () => path.replace(/\/(?=[^/]*$)/, '/./'),
        () => `${path}/../${path.split('/').at(-1)}`,
        () => `${path}/%2e%2e/x`,
        () => `${path};x=1`,
        () => `${path}%00`,
        () => `${path}%`,
        () => `${path}%zz`,
        () => `${path}%ff`,
        () => `${path}.json`,
        () => `${path.slice(0, at)}\u00e4\u00ff${path.slice(at)}`,
        () => `${path.slice(0, at)}${'x'.repeat(size(dice, 15_000))}${path.slice(at)}`,
        () => `${path.slice(0, at)}%25%32%66${path.slice(at)}`,
        () => `http://elsewhere.example${path}`,
        () => `*`,
        () => `/docs/../v1`,
        () => `/v1/${'a/'.repeat(size(dice, 3000))}`,
      ])();
    },
  },
  // headers
  {
    name: 'another authorization',
    share: 4,
    apply(draft, { dice }) {
      const own = header(draft, 'authorization') ?? 'Bearer x.y.z';
      draft.authentic = false;
      const value = dice.pick([
        undefined,
        '',
        'Bearer',
        'Bearer ',
        own.slice(0, -1),
        own.replace('Bearer', 'bearer '),
        own.replace('Bearer', 'Basic'),
        `${own}, ${own}`,
        `${own} x`,
        own.replace(/\.[^.]*$/, '.'),
        'Bearer \u0000'.replace('\u0000', '\u00ff'),
        `Bearer ${'x'.repeat(size(dice, 12_000))}`,
        `Bearer ${'a.'.repeat(2000)}`,
        'Bearer e30.e30.e30',
        'Basic YWRtaW46YWRtaW4=',
      ]);
      setHeader(draft, 'Authorization', value);
      if (dice.chance(0.2)) draft.headers.push(['Authorization', own]);
    },
  },
  {
    name: 'another If-Match',
    share: 4,
    apply: (draft, { dice }) => {
      const absurd = [
        '*',
        '',
        '"',
        '""',
        '1',
        'W/"1"',
        '"1", "2"',
        '"-1"',
        '"0"',
        '"1e3"',
        '"999999999"',
        '"9999999999"',
        `"${'9'.repeat(500)}"`,
        "'; --",
        '"\u00ff"',
      ];
      setHeader(draft, 'If-Match', dice.pick(absurd));
    },
  },
  {
    name: 'another Idempotency-Key',
    share: 4,
    apply(draft, { dice }) {
      const absurd = [
        undefined,
        '',
        ' ',
        'k'.repeat(255),
        'k'.repeat(256),
        'k'.repeat(5000),
        '\u00e4\u00f6',
        'a b',
        '"a"',
        'a, b',
        '__proto__',
      ];
      setHeader(draft, 'Idempotency-Key', dice.pick(absurd));
      if (dice.chance(0.2)) draft.headers.push(['Idempotency-Key', dice.text(8)]);
    },
  },
  {
    name: 'another Prefer',
    share: 2,
    apply: (draft, { dice }) =>
      setHeader(
        draft,
        'Prefer',
        dice.pick([
          'wait=0',
          'wait=-1',
          'wait=1e9',
          'wait',
          'wait=abc',
          'wait=',
          'respond-async',
          '\u00ff',
          'wait=0001',
          ','.repeat(5000),
        ]),
      ),
  },
  {
    name: 'an unusual header',
    share: 4,
    apply(draft, { dice }) {
      draft.headers.push(
        dice.pick<[string, string]>([
          ['Accept', 'application/xml'],
          ['Accept', 'x'.repeat(4000)],
          ['Accept-Encoding', 'gzip;q=1e400'],
          ['Accept-Language', '*'.repeat(1000)],
          ['X-Forwarded-For', '1.2.3.4, unknown'],
          ['X-Forwarded-Host', 'elsewhere.example'],
          ['X-Forwarded-Proto', 'javascript'],
          ['X-Request-Id', dice.uuid()],
          ['Host', 'elsewhere.example'],
          ['Host', ''],
          ['Origin', 'null'],
          ['Cookie', `a=${'b'.repeat(5000)}`],
          ['Range', 'bytes=0-1,-1,5-'],
          ['If-None-Match', '*'],
          ['If-Modified-Since', 'Mon, 01 Jan 0001 00:00:00 GMT'],
          ['X-HTTP-Method-Override', 'DELETE'],
          ['Upgrade', 'websocket'],
          ['Upgrade', 'h2c'],
          ['Connection', 'Upgrade, HTTP2-Settings'],
          ['Connection', 'close'],
          ['Expect', '100-continue'],
          ['Expect', 'something else'],
          ['TE', 'trailers'],
          ['Transfer-Encoding', 'gzip'],
          ['Transfer-Encoding', 'identity'],
          ['Content-Length', '-1'],
          ['Content-Length', '1e3'],
          ['__proto__', 'x'],
          ['constructor', 'x'],
          ['Traceparent', '00-00000000000000000000000000000000-0000000000000000-00'],
        ]),
      );
    },
  },
  {
    name: 'very many headers',
    share: 1,
    apply: (draft, { dice }) => {
      const count = size(dice, 3000);
      draft.headers.push(
        ...Array.from({ length: count }, (_, nth): [string, string] => [
          `x-${nth}`,
          dice.chance(0.001) ? 'y'.repeat(20_000) : '1',
        ]),
      );
    },
  },
  // the rest of HTTP
  {
    name: 'another method',
    share: 3,
    apply(draft, { dice }) {
      draft.routed = false;
      draft.method = dice.pick([
        'GET',
        'HEAD',
        'OPTIONS',
        'PUT',
        'PATCH',
        'DELETE',
        'POST',
        'TRACE',
        'PROPFIND',
        'SEARCH',
        'PURGE',
        'QUERY',
        'FOO',
        'get',
      ]);
    },
  },
  {
    name: 'chunks',
    share: 1,
    fits: hasBody,
    apply(draft, { dice }) {
      const body = json(draft.body);
      const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
      const ends = ['0\r\n\r\n', '0\r\nX-Trailer: 1\r\n\r\n', '-1\r\n\r\n', 'zz\r\n', 'ffffffffffffffff\r\n'];
      setHeader(draft, 'Transfer-Encoding', 'chunked');
      if (dice.chance(0.1)) draft.headers.push(['Content-Length', '5']);
      const many = [...body].slice(0, 3000).map(chunk).join('');
      draft.bytes = Buffer.from(
        (dice.chance(0.5) ? chunk(body) : many) + (dice.chance(0.7) ? ends[0] : dice.pick(ends)),
      );
    },
  },
  {
    name: 'something that is not HTTP',
    share: 1,
    apply(draft, { dice }) {
      draft.routed = false;
      draft.distort = dice.pick<(request: Buffer) => Buffer>([
        () => Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
        () => Buffer.from('\u0016\u0003\u0001\u0002\u0000\u0001', 'latin1'),
        () => Buffer.from('GET /v1/products\r\n\r\n'),
        () => Buffer.from('GET / HTTP/9.9\r\n\r\n'),
        () => Buffer.from('GET /v1/products HTTP/1.1\r\n\r\n'),
        (request) => Buffer.from(request.toString('latin1').replace('HTTP/1.1', 'HTTP/1.0'), 'latin1'),
        (request) => Buffer.from(request.toString('latin1').replace('\r\n', '\r\nBad Header: x\r\n'), 'latin1'),
        (request) => Buffer.from(request.toString('latin1').replace('\r\n', '\r\nX: \u0000\r\n'), 'latin1'),
        (request) => Buffer.from(request.toString('latin1').replace('\r\n', '\r\n folded\r\n'), 'latin1'),
        (request) => Buffer.from(request.toString('latin1').replaceAll('\r\n', '\n'), 'latin1'),
        () => Buffer.from('\r\n'.repeat(2000) + 'x'),
      ]);
    },
  },
  {
    name: 'a client that goes away',
    share: 1,
    apply(draft, { dice }) {
      draft.abort = true;
      if (dice.chance(0.7)) draft.distort = (request) => request.subarray(0, dice.integer(1, request.length));
    },
  },
];

/** Percent-encodes what is not to be taken for a delimiter, half characters included. */
function escape(text: string): string {
  return encodeURIComponent(Buffer.from(text).toString());
}
