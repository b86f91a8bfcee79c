/** NUL, and halves of surrogate pairs: whole ones are one character under the u flag. */
const unstorable = /[\0\p{Surrogate}]/u;

/** False for text that Postgres cannot hold. */
export function isStorable(text: string): boolean {
  return !unstorable.test(text);
}

/** The text, or its beginning and an ellipsis when it is longer than `length`. */
export function shortened(text: string, length: number): string {
  if (text.length <= length) return text;
  // never half of a surrogate pair
  return `${text.slice(0, length - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}
