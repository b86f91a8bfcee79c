/** A value within a state that JSON does not give back as it was. */
export interface JsonFault {
  /** Where it is, e.g. `.lines[2].addedAt`. */
  readonly path: string;
  /** What it is, e.g. `a Date`. */
  readonly what: string;
}

/** NUL, and halves of surrogate pairs: whole ones are one character under the u flag. */
const unstorable = /[\0\p{Surrogate}]/u;

/**
 * The first value of a state that would not come back equal from the database; undefined when all of it would. A member
 * that is `undefined` counts as absent, which is what it is afterwards.
 */
export function jsonFault(value: unknown, path = '', parents: readonly object[] = []): JsonFault | undefined {
  const what = unlikeJson(value, parents);
  if (what !== undefined) return { path, what };
  if (typeof value !== 'object' || value === null) return undefined;
  const within = [...parents, value];
  if (Array.isArray(value)) {
    for (let nth = 0; nth < value.length; nth++) {
      const item: unknown = value[nth];
      const fault =
        item === undefined
          ? { path: `${path}[${nth}]`, what: 'undefined' }
          : jsonFault(item, `${path}[${nth}]`, within);
      if (fault) return fault;
    }
    return undefined;
  }
  for (const [name, member] of Object.entries(value)) {
    const at = `${path}.${name}`;
    if (unstorable.test(name)) return { path: at, what: 'a name with a NUL or half a character' };
    const fault = member === undefined ? undefined : jsonFault(member, at, within);
    if (fault) return fault;
  }
  return undefined;
}

function unlikeJson(value: unknown, parents: readonly object[]): string | undefined {
  switch (typeof value) {
    case 'boolean':
      return undefined;
    case 'string':
      return unstorable.test(value) ? 'text with a NUL or half a character' : undefined;
    case 'number':
      if (Object.is(value, -0)) return 'the number -0';
      return Number.isFinite(value) ? undefined : `the number ${value}`;
    case 'object':
      if (value === null) return undefined;
      if (parents.includes(value)) return 'an object within itself';
      return isPlain(value) ? undefined : `a ${value.constructor?.name || 'class instance'}`;
    default:
      return typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`;
  }
}

function isPlain(value: object): boolean {
  if (Array.isArray(value)) return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  // an object of another realm, such as that of a test runner, is plain as well
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
