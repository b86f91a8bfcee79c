/** NUL, and halves of surrogate pairs: whole ones are one character under the u flag. */
const unstorable = /[\0\p{Surrogate}]/u;

/** No language puts more than 30 marks on a letter (UAX #15, D4), and normalising a run takes the square of its length. */
const unnormalisable = /\p{M}{31}/u;

/** White space, controls, and characters that show nothing, such as a zero-width space or the blank of Braille. */
const blank = /^[\s\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]*$/u;

/** What means nothing at either end. A joiner or a variation selector may belong to the character before it. */
const edge = /[\s\u200b\u2060]/;

/** False for text that Postgres cannot hold. */
export function isStorable(text: string): boolean {
  return !unstorable.test(text);
}

/** False for text that takes too long to normalise. */
export function isNormalisable(text: string): boolean {
  return !unnormalisable.test(text);
}

/** Text as it is stored and compared: in Unicode's composed form (NFC), trimmed; empty when there is nothing to see. */
export function canonicalText(text: string): string {
  const composed = text.normalize('NFC');
  if (blank.test(composed)) return '';
  let from = 0;
  let to = composed.length;
  while (edge.test(composed[from]!)) from++;
  while (edge.test(composed[to - 1]!)) to--;
  return composed.slice(from, to);
}

const VERBATIM = 'http:verbatim';

/** For a member at the top of a body that is taken as it was typed, such as a password. All others are canonical text. */
export const Verbatim =
  (): PropertyDecorator =>
  (target, name): void =>
    Reflect.defineMetadata(VERBATIM, new Set([...verbatimMembers(target), name]), target);

function verbatimMembers(prototype: object): ReadonlySet<string | symbol> {
  return (Reflect.getMetadata(VERBATIM, prototype) as ReadonlySet<string | symbol> | undefined) ?? new Set();
}

/** A body or query of this class with every text in it canonical, at any depth. */
export function withCanonicalText(value: unknown, type?: new (...args: never[]) => object): unknown {
  return canonical(value, type && verbatimMembers(type.prototype as object));
}

function canonical(value: unknown, verbatim?: ReadonlySet<string | symbol>): unknown {
  if (typeof value === 'string') return canonicalText(value);
  if (Array.isArray(value)) return value.map((each) => canonical(each));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      verbatim?.has(name) ? (member as unknown) : canonical(member),
    ]),
  );
}

/** The text, or its beginning and an ellipsis when it is longer than `length`. */
export function shortened(text: string, length: number): string {
  if (text.length <= length) return text;
  // never half of a surrogate pair
  return `${text.slice(0, length - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}
