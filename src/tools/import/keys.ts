import { createHash } from 'node:crypto';

/** An `Idempotency-Key`: at most 255 characters that a header can have. Equal for equal parts, in every run. */
export function keyOf(...parts: readonly string[]): string {
  const key = ['import', ...parts.map(encodeURIComponent)].join('/');
  if (key.length <= 255) return key;
  return `import/${parts[0]}/${createHash('sha256').update(key).digest('hex')}`;
}
