import fc from 'fast-check';
import type { Json } from '../support/api';
import type { Dice } from './dice';
import { type ApiDocument, kindOfReference, type Schema } from './document';
import { codes, contradicts } from './knowledge';
import type { Pool, Resource } from './pool';

/** Whatever request needs to choose values: its dice, and what is known so far. */
export interface Choices {
  readonly dice: Dice;
  readonly document: ApiDocument;
  readonly pool: Pool;
  /** Name of the actor, whose own resources are preferred. */
  readonly actor: string;
  /** How likely an optional member is there. */
  readonly fullness: number;
  /** Resources that were referred to, and where. */
  readonly used: { resource: Resource; place: string }[];
}

/** A value that the schema allows, and that as a rule makes sense: an id of something that exists, a new e-mail address. */
export function valid(schema: Schema, name: string, choices: Choices): Json {
  const { dice, document } = choices;
  const resolved = document.resolve(schema);
  const { example, enum: allowed, oneOf, anyOf } = resolved;
  const alternatives = (oneOf ?? anyOf) as Schema[] | undefined;
  if (alternatives) return valid(dice.pick(alternatives), name, choices);
  if (Array.isArray(allowed)) return dice.pick(allowed);
  switch (resolved['type']) {
    case 'boolean':
      return dice.chance(0.5);
    case 'integer':
    case 'number':
      return number(resolved, dice);
    case 'string':
      return text(resolved, name, choices);
    case 'array':
      return array(resolved, name, choices);
    default:
      if (resolved['properties']) return object(resolved, choices);
      return structuredClone(example ?? {});
  }
}

function object(schema: Schema, choices: Choices): Json {
  const required = new Set((schema['required'] ?? []) as string[]);
  const members = Object.entries(schema['properties'] as Record<string, Schema>)
    .filter(([name]) => required.has(name) || choices.dice.chance(choices.fullness))
    .filter(([name], _, given) => !given.some(([other]) => other === contradicts[name]))
    .map(([name, member]) => [name, valid(member, name, choices)] as const);
  return Object.fromEntries(members);
}

function array(schema: Schema, name: string, choices: Choices): Json {
  const { dice } = choices;
  if (schema['example'] !== undefined && dice.chance(0.4)) return structuredClone(schema['example']);
  const least = Number(schema['minItems'] ?? 0);
  const most = Math.min(Number(schema['maxItems'] ?? 20), dice.chance(0.01) ? 1000 : 3);
  const items = Array.from(
    { length: dice.integer(Math.max(least, dice.chance(0.9) ? 1 : 0), Math.max(least, most)) },
    () => valid(schema['items'] as Schema, name, choices),
  );
  return schema['uniqueItems'] ? [...new Set(items)] : items;
}

function number(schema: Schema, dice: Dice): number {
  const min = Number(schema['minimum'] ?? 0);
  const max = Number(schema['maximum'] ?? 1_000_000);
  if (schema['example'] !== undefined && dice.chance(0.5)) return Number(schema['example']);
  if (dice.chance(0.05)) return dice.pick([min, max]);
  if (dice.chance(0.05)) return dice.integer(min, max);
  return Math.min(max, Math.max(min, 0) + dice.magnitude(20));
}

function text(schema: Schema, name: string, choices: Choices): string {
  const { dice, pool, actor, used } = choices;
  const { example, format, pattern, minLength, maxLength } = schema as {
    example?: string;
    format?: string;
    pattern?: string;
    minLength?: number;
    maxLength?: number;
  };
  const kind = kindOfReference(name);
  if (codes[name]) return dice.pick(codes[name]);
  if (kind !== undefined || format === 'uuid') {
    const found = pool.reference(kind ?? name, dice, actor, name);
    if (found && dice.chance(0.95)) {
      used.push({ resource: found.resource, place: name });
      return found.value;
    }
    return example !== undefined && dice.chance(0.8) ? example : dice.uuid();
  }
  if (/password|secret/i.test(name)) return `${dice.text(6)} ${dice.text(7)} ${dice.text(6)}`;
  if (format === 'email') {
    if (pool.emails.length > 0 && dice.chance(0.05)) return dice.pick(pool.emails);
    return `fuzz-${dice.text(12)}@example.com`;
  }
  if (format === 'date-time') {
    return new Date(Date.now() - dice.magnitude(30 * 86_400_000) + (dice.chance(0.1) ? 86_400_000 : 0)).toISOString();
  }
  // a number of one's own, of which there may be only one
  if (/sku|key|number/i.test(name)) return dice.text(Math.min(maxLength ?? 12, 12));
  if (example !== undefined && dice.chance(0.7)) return example;
  if (pattern !== undefined) return matching(pattern, dice);
  const length = Math.min(
    maxLength ?? 1000,
    Math.max(minLength ?? 0, dice.chance(0.02) ? 100_000 : dice.magnitude(40)),
  );
  return words(length, dice);
}

export function matching(pattern: string, dice: Dice): string {
  const seed = dice.integer(0, 0x7fff_ffff);
  return fc.sample(fc.stringMatching(new RegExp(pattern)), { seed, numRuns: 1 })[0]!;
}

/** Text as people write it, in several scripts. */
function words(length: number, dice: Dice): string {
  const stock = ['tea', 'Größe', 'naïve', '茶', 'чай', 'شاي', '🫖', "O'Hara", 'a-b', '&', '100 %', 'e\u0301'];
  let text = dice.pick(stock);
  while (text.length < length) text += ` ${dice.pick(stock)}`;
  // not through the middle of a character
  const cut = Array.from(text.slice(0, length));
  return /^[\ud800-\udbff]$/.test(cut.at(-1)!) ? cut.slice(0, -1).join('') || 'x' : cut.join('').trim() || 'x';
}
