/**
 * Values that come from outside (a thrown error, the result of a command) in a form that the database can hold. Unlike
 * what the code itself writes into events, which is refused when it is wrong, they must not be able to fail what keeps them.
 */

/** NUL, and halves of surrogate pairs: whole ones are one character under the u flag. */
const unstorable = /[\0\p{Surrogate}]/gu;

/** Deeper than any result that is meant, and far from what the stack holds. */
const maxDepth = 100;

/** Text without NUL and half surrogate pairs, which become U+FFFD; cut at `length` characters. */
export function storableText(text: string, length = Infinity): string {
  const cut = text.length <= length ? text : `${text.slice(0, length - 1)}…`;
  return cut.replace(unstorable, '\ufffd');
}

/**
 * A value as JSON can give it back. JSON's own values stay as they are, apart from text that cannot be stored. A bigint
 * and a number that JSON lacks become text, a date becomes RFC 3339, a set a list, a map a list of pairs, an error its name
 * and message. `undefined` and functions become null in a list and are left out of an object. A circle, a getter that
 * throws, and what is deeper than 100 levels are named in brackets. Never throws.
 */
export function storable(value: unknown): unknown {
  return convert(value, []) ?? null;
}

/** What was thrown, whatever it was, for people: the stack of an error or the best text that there is. Never throws. */
export function describeThrown(thrown: unknown, length = 8000): string {
  return storableText(attempt(() => textOf(thrown)) ?? 'something that cannot be described', length);
}

/** What was thrown or, if not even its members can be read, an error in its place that can be dealt with as any other. */
export function readable(thrown: unknown): unknown {
  const members = ['name', 'message', 'stack', 'code', 'cause', 'driverError', 'retryAfterMs'];
  return attempt(
    () => {
      for (const member of members) void (thrown as Record<string, unknown> | null | undefined)?.[member];
      return { thrown };
    },
    { thrown: new Error(describeThrown(thrown)) },
  ).thrown;
}

function textOf(thrown: unknown): string {
  if (thrown === undefined || thrown === null) return `${thrown} was thrown`;
  if (typeof thrown === 'function') return `function ${thrown.name} was thrown`;
  if (typeof thrown !== 'object') return (thrown as string | number | bigint | boolean | symbol).toString();
  const { name, message, stack } = {
    name: attempt(() => (thrown as Error).name),
    message: attempt(() => (thrown as Error).message),
    stack: attempt(() => (thrown as Error).stack),
  };
  if (thrown instanceof Error && typeof stack === 'string') return stack;
  if (typeof message === 'string') return typeof name === 'string' ? `${name}: ${message}` : message;
  return JSON.stringify(storable(thrown));
}

function convert(value: unknown, parents: readonly object[]): unknown {
  switch (typeof value) {
    case 'string':
      return storableText(value);
    case 'boolean':
      return value;
    case 'number':
      return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))
        ? value
        : String(value);
    case 'bigint':
      return String(value);
    case 'object':
      if (value === null) return null;
      if (parents.includes(value)) return '[circular]';
      if (parents.length >= maxDepth) return '[too deep]';
      return attempt(() => convertObject(value, [...parents, value]), '[unreadable]');
    default:
      return undefined;
  }
}

function convertObject(value: object, parents: readonly object[]): unknown {
  const list = (items: Iterable<unknown>) => Array.from(items, (item) => convert(item, parents) ?? null);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (value instanceof Set || Array.isArray(value)) return list(value as Iterable<unknown>);
  if (value instanceof Map) return Array.from(value as Map<unknown, unknown>, (pair) => list(pair));
  if (value instanceof Error) return { name: convert(value.name, parents), message: convert(value.message, parents) };
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON === 'function') return convert((toJSON as (key: string) => unknown).call(value, ''), parents);
  const members = Object.keys(value).flatMap((name) => {
    const member = attempt(() => convert((value as Record<string, unknown>)[name], parents), '[unreadable]');
    return member === undefined ? [] : [[storableText(name), member] as const];
  });
  return Object.fromEntries(members);
}

function attempt<T>(work: () => T): T | undefined;
function attempt<T, U>(work: () => T, otherwise: U): T | U;
function attempt<T, U>(work: () => T, otherwise?: U): T | U | undefined {
  try {
    return work();
  } catch {
    return otherwise;
  }
}
