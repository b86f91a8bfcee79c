import type { Json } from '../support/api';
import type { Dice } from './dice';
import { Raw } from './draft';

/** Names that every object has, or that mean something to somebody. */
export const names: readonly string[] = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  '__defineGetter__',
  'then',
  'length',
  'toJSON',
  'role',
  'roles',
  'status',
  'ownerId',
  'customerId',
  'total',
  'version',
  'id',
  '',
  ' ',
  'a.b',
  'a[b]',
  '$gt',
  '0',
  '-1',
  'x'.repeat(5000),
  '\u0000',
  '\ud800',
  'ﬀ',
  '\u202e',
];

/** Texts that have broken something somewhere. They must not look like what the leak oracle takes for a leak. */
export const texts: readonly string[] = [
  '',
  ' ',
  '\n',
  '\u0000',
  'a\u0000b',
  '\ud800',
  '\udfffx',
  '\ufeff',
  '\uffff',
  '\u202eabc',
  'السلام عليكم',
  'Z\u0351\u036b\u0343\u036a'.repeat(50),
  '🫖'.repeat(100),
  "'; drop table x; --",
  "' or '1'='1",
  '%',
  '_',
  '\\',
  '%00',
  '%c0%ae',
  '${7*7}',
  '{{7*7}}',
  '<script>alert(1)</script>',
  '=cmd|x!A1',
  '../../../../etc/x',
  'null',
  'undefined',
  'NaN',
  'true',
  '0',
  '-1',
  '1e400',
  '0x10',
  '1_000',
  '９',
  '9007199254740993',
  '-9223372036854775809',
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
  '{01980000-0000-7000-8000-000000000000}',
  '0000-01-01T00:00:00Z',
  '-271821-04-20T00:00:00Z',
  '+275760-09-13T00:00:00Z',
  '9999-12-31T23:59:59.999Z',
  '2026-02-30T25:61:61Z',
  'infinity',
  'epoch',
  `a@${'b'.repeat(300)}.example`,
  '"quoted local"@example.com',
  'x'.repeat(256),
  'x'.repeat(10_000),
];

/** Numbers as JSON texts. */
export const numbers: readonly string[] = [
  '-1',
  '0',
  '-0',
  '0.1',
  '1.5',
  '1e-400',
  '1e400',
  '-1e400',
  '1e21',
  '1E+2',
  '2147483647',
  '2147483648',
  '-2147483649',
  '4294967296',
  '9007199254740991',
  '9007199254740992',
  '9007199254740993',
  '-9007199254740993',
  '9223372036854775807',
  '9223372036854775808',
  '1000000000000000000000000000000',
  '9'.repeat(5000),
  `0.${'0'.repeat(5000)}1`,
];

const others: readonly Json[] = [
  null,
  true,
  false,
  [],
  {},
  [[]],
  [null],
  { length: 1e9 },
  { toString: 1 },
  [{}],
  { '': '' },
];

/** Any hostile value of moderate size. */
export function atom(dice: Dice): Json {
  const which = dice.integer(1, 10);
  if (which <= 5) return dice.chance(0.1) ? dice.text(dice.magnitude(500_000)) : dice.pick(texts);
  if (which <= 8) return new Raw(dice.pick(numbers));
  if (which === 9)
    return new Raw(`{${JSON.stringify(dice.pick(names))}:${dice.pick(['null', '1', '"x"', '{}', '[]'])}}`);
  return structuredClone(dice.pick(others));
}

/** Mostly modest, now and then as large as it gets. */
export function size(dice: Dice, most: number): number {
  return dice.chance(0.12) ? most : dice.magnitude(Math.min(most, 20_000));
}

/** JSON nested up to 100,000 levels. */
export function deep(dice: Dice): Raw {
  const depth = size(dice, 100_000);
  const [open, close] = dice.pick([
    ['[', ']'],
    ['{"a":', '}'],
    ['[{"a":', '}]'],
    ['{"__proto__":', '}'],
  ] as const);
  return new Raw(open.repeat(depth) + dice.pick(['1', '"x"', 'null', '{}']) + close.repeat(depth));
}

/** An object of up to 100,000 members. */
export function wide(dice: Dice): Raw {
  const count = size(dice, 100_000);
  const value = dice.pick(['1', '""', '{}', '[]']);
  return new Raw(`{${Array.from({ length: count }, (_, nth) => `"${nth.toString(36)}_":${value}`).join(',')}}`);
}

/** An array of up to 300,000 elements. */
export function long(dice: Dice, element?: string): Raw {
  const value = element ?? dice.pick(['{}', '[]', '1', '""', 'null', '[{}]', '{"a":1}']);
  const count = size(dice, Math.floor(Math.min(300_000, 1_000_000 / (value.length + 1))));
  return new Raw(`[${`${value},`.repeat(count - 1)}${value}]`);
}
