/**
 * By what SKUs are compared: two that look the same are the same. Case, blanks around it, the width of blanks within it,
 * and what cannot be seen do not count, nor does how a letter is composed.
 *
 * migrations/products/0002-sku-keys.ts has a copy, as of then: whoever changes this one writes a migration.
 */
export function skuKey(sku: string): string {
  const visible = sku
    .normalize('NFC')
    .replace(/\p{Cf}/gu, '')
    .replace(/\s+/gu, ' ')
    .trim();
  // by way of capitals, as not every letter has one small form: ß and SS, final sigma
  return visible.toUpperCase().toLowerCase().normalize('NFC');
}
