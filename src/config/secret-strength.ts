/** Was the default of docker-compose.yml, and is public. */
const published = 'for-local-use-only-0123456789abcdef';

const leastLength = 32;
const leastDifferent = 8;
const leastUnpredictable = 16;

/**
 * Why a secret can be guessed, as the end of a sentence that begins with its name; undefined for one that looks random.
 * It cannot recognise every bad secret: it rejects what somebody types in order to get past a check of the length.
 */
export function weaknessOf(secret: string): string | undefined {
  if (secret.trim().length < leastLength) return `has fewer than ${leastLength} characters`;
  if (secret.trim() === published) return 'is the published default of an earlier docker-compose.yml';
  if (repeatsABlock(secret.trim()) || new Set(secret).size < leastDifferent) return 'repeats itself';
  if (unpredictable(secret) < leastUnpredictable) return 'is a simple sequence of characters';
  return undefined;
}

/** The same block, twice or more, of which the last may be incomplete. */
function repeatsABlock(text: string): boolean {
  for (let length = 1; length <= text.length / 2; length++) {
    const block = text.slice(0, length);
    if (block.repeat(Math.ceil(text.length / length)).startsWith(text)) return true;
  }
  return false;
}

/** Characters that neither repeat the one before nor follow it in the alphabet, forwards or backwards. */
function unpredictable(text: string): number {
  const codes = [...text].map((character) => character.codePointAt(0)!);
  return codes.filter((code, nth) => nth === 0 || Math.abs(code - codes[nth - 1]!) > 1).length;
}
