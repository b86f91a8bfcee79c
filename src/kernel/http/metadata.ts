import { applyDecorators } from '@nestjs/common';
import { ApiPropertyOptional } from '@nestjs/swagger';
import { ValidateBy } from 'class-validator';
import { DomainError } from '../domain-error';

/** Text of the caller's own by keys of the caller's own. It means nothing to us. */
export type Metadata = Readonly<Record<string, string>>;

/** What a change sets. An empty text or null removes the key; keys that are not named stay as they are. */
export type MetadataChange = Readonly<Record<string, string | null | undefined>>;

const maxKeys = 50;
const maxText = 500;
const key = /^[a-zA-Z0-9_.-]{1,40}$/;

const limits = `at most ${maxKeys} keys of 1 to 40 letters, digits, _, . and -, with text of at most ${maxText} characters`;

/** What is wrong with it; undefined when nothing is. */
function flawOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'it must be an object';
  const members = Object.entries(value as Record<string, unknown>);
  if (members.length > maxKeys) return `it has ${members.length} keys`;
  const [wrong] = members.find(([name, text]) => {
    const isText = text === null || text === undefined || (typeof text === 'string' && text.length <= maxText);
    return !key.test(name) || !isText;
  }) ?? [undefined];
  return wrong === undefined ? undefined : `not so ${JSON.stringify(wrong.slice(0, 60))}`;
}

const IsMetadata = () =>
  ValidateBy({
    name: 'isMetadata',
    validator: {
      validate: (value) => flawOf(value) === undefined,
      defaultMessage: (about) => `${about!.property} has ${limits}: ${flawOf(about!.value)}`,
    },
  });

const schema = {
  type: 'object',
  maxProperties: maxKeys,
  additionalProperties: { type: 'string', maxLength: maxText },
  example: { channel: 'web' },
} as const;

/** A member of a request that sets metadata. */
export const SetsMetadata = () =>
  applyDecorators(
    ApiPropertyOptional({ ...schema, description: `Text of your own under keys of your own: ${limits}.` }),
    IsMetadata(),
  );

/** A member of a request that changes metadata. */
export const ChangesMetadata = () =>
  applyDecorators(
    ApiPropertyOptional({
      ...schema,
      additionalProperties: { type: 'string', nullable: true, maxLength: maxText },
      description: `Keys to set. An empty text or null removes a key; the others stay. In all, ${limits}.`,
    }),
    IsMetadata(),
  );

/** As responses show it. */
export const metadataSchema = {
  type: 'object',
  additionalProperties: { type: 'string' },
  example: { channel: 'web' },
} as const;

/** @throws DomainError `metadata-too-large` (invalid) */
export function mergedMetadata(before: Metadata, change: MetadataChange = {}): Metadata {
  const members = Object.entries({ ...before, ...change }).filter((member): member is [string, string] => !!member[1]);
  if (members.length <= maxKeys) return Object.fromEntries(members);
  const message = `metadata would have ${members.length} keys, and may have ${maxKeys}: remove some by setting them to null.`;
  throw new DomainError('invalid', 'metadata-too-large', message);
}

export function isSameMetadata(one: Metadata, other: Metadata): boolean {
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => one[name] === other[name]);
}
