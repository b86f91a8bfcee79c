import { createHash } from 'node:crypto';

/** By what stock codes are compared, here as on the server: `85123A` and `85123a` are one product. */
export function skuKey(sku: string): string {
  return sku
    .normalize('NFC')
    .replace(/\p{Cf}/gu, '')
    .replace(/\s+/gu, ' ')
    .trim()
    .toUpperCase();
}

/** An `Idempotency-Key`: at most 255 characters that a header can have. Equal for equal parts, in every run. */
export function keyOf(...parts: readonly string[]): string {
  const key = ['import', ...parts.map(encodeURIComponent)].join('/');
  if (key.length <= 255) return key;
  return `import/${parts[0]}/${createHash('sha256').update(key).digest('hex')}`;
}
