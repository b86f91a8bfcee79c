import { describeThrown, readable, storable, storableText } from '../../src/kernel/storable';

function fail(what: string): never {
  throw new Error(what);
}

describe('storable', () => {
  const circle: Record<string, unknown> = { name: 'circle' };
  circle['self'] = circle;
  const trap = Object.defineProperty({ a: 1 }, 'b', { enumerable: true, get: () => fail('read') });

  it('leaves the values of JSON as they are', () => {
    const value = { a: [1, -2.5, true, null, 'text 🫖'], b: { c: '' } };
    expect(storable(value)).toEqual(value);
  });

  it.each([
    ['undefined', undefined, null],
    ['a function', () => 1, null],
    ['a bigint', 12n, '12'],
    ['NaN', { n: NaN }, { n: 'NaN' }],
    ['an infinite number', [-Infinity], ['-Infinity']],
    ['an integer beyond 2^53', 2 ** 60, '1152921504606847000'],
    ['a date', { at: new Date(0) }, { at: '1970-01-01T00:00:00.000Z' }],
    ['a date that is none', [new Date(NaN)], [null]],
    ['a set', new Set([1, 'a']), [1, 'a']],
    ['a map', new Map([['a', 1]]), [['a', 1]]],
    ['a hole', [undefined, 1], [null, 1]],
    ['an absent member', { a: undefined, b: 1 }, { b: 1 }],
    ['an error', new TypeError('no\u0000'), { name: 'TypeError', message: 'no\ufffd' }],
    ['an object with toJSON', new URL('http://a/'), 'http://a/'],
    ['a circle', circle, { name: 'circle', self: '[circular]' }],
    ['a getter that throws', trap, { a: 1, b: '[unreadable]' }],
    ['NUL', 'a\u0000b', 'a\ufffdb'],
    ['half a surrogate pair', { '\ud800': ['\udc00'] }, { '\ufffd': ['\ufffd'] }],
  ])('makes %s storable', (_, value, expected) => expect(storable(value)).toEqual(expected));

  it('takes the same object twice when it is not within itself', () => {
    const twice = { n: 1 };
    expect(storable([twice, twice])).toEqual([{ n: 1 }, { n: 1 }]);
  });

  it('ends at a depth that nothing meant has', () => {
    let deep: unknown = 0;
    for (let level = 0; level < 100_000; level++) deep = [deep];
    expect(JSON.stringify(storable(deep))).toBe(`${'['.repeat(100)}"[too deep]"${']'.repeat(100)}`);
  });

  it('cuts text without halving a character', () => {
    expect(storableText('12345🫖', 7)).toBe('12345🫖');
    expect(storableText('12345🫖6', 7)).toBe('12345\ufffd…');
  });
});

describe('what was thrown is described', () => {
  const hostile = new Proxy(
    {},
    {
      get: () => {
        throw new Error('not readable');
      },
    },
  );

  it.each([
    ['undefined', undefined, 'undefined was thrown'],
    ['null', null, 'null was thrown'],
    ['a text', 'no\u0000', 'no\ufffd'],
    ['a number', 7, '7'],
    ['a symbol', Symbol('no'), 'Symbol(no)'],
    ['an object without a message', { code: 7n }, '{"code":"7"}'],
    ['an object with one', { name: 'Refusal', message: 'no' }, 'Refusal: no'],
    ['an object without a prototype', Object.create(null), '{}'],
    ['an object that cannot be read', hostile, '"[unreadable]"'],
  ])('if it is %s', (_, thrown, text) => expect(describeThrown(thrown)).toBe(text));

  it('by the stack of an error, and cut', () => {
    expect(describeThrown(new Error('half \ud800'))).toMatch(/^Error: half \ufffd\n +at /);
    expect(describeThrown(new Error('long '.repeat(10_000)))).toHaveLength(8000);
  });

  it('also if reading the message of an error throws', () => {
    const get = () => fail('not readable');
    const error = new Proxy(new Error('hidden'), { get });
    expect(describeThrown(error)).toBe('"[unreadable]"');
  });

  it('and is read by nobody who would fail by it', () => {
    const error = new Error('plain');
    for (const thrown of [undefined, null, 'text', 7, error]) expect(readable(thrown)).toBe(thrown);
    expect(readable(hostile)).toEqual(new Error('"[unreadable]"'));
  });
});
