import { createHash } from 'node:crypto';
import type { Cells } from '../cells';
import type { Address, OrderHead } from './format';

/** What the exports of shops have in common. */

/** Shops may sell what has no code: its name then stands for it, cut to the length of a code and kept apart by a hash. */
export function skuOf(sku: string, name: string): string {
  if (sku !== '' || name.length <= 64) return sku || name;
  return `${wholeCharacters(name, 51)}-${createHash('sha256').update(name).digest('hex').slice(0, 12)}`;
}

/** The beginning of a text, without half of a character at its end. */
export function wholeCharacters(text: string, maxLength: number): string {
  let end = 0;
  for (const { segment, index } of new Intl.Segmenter().segment(text)) {
    if (index + segment.length > maxLength) break;
    end = index + segment.length;
  }
  return text.slice(0, end);
}

/** An account for each address; none for what is no address, which is a guest. */
export function customerByEmail(email: string, name: string): OrderHead['customer'] {
  const id = email.toLowerCase();
  return /^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(id) ? { id, email: id, name: name || id } : undefined;
}

/** The columns of an address. */
export type AddressColumns = Readonly<Record<'line1' | 'line2' | 'postalCode' | 'city' | 'country', string>>;

/** The first address that says anything: where the order goes, or else who pays for it. */
export function addressFrom(cells: Cells, name: string, candidates: readonly AddressColumns[]): Address {
  const given = (columns: AddressColumns) => Object.values(columns).some((column) => cells.text(column) !== '');
  const columns = candidates.find(given) ?? candidates[0]!;
  return {
    name,
    line1: cells.text(columns.line1),
    line2: cells.text(columns.line2) || undefined,
    // Shopify keeps Excel from dropping a leading zero by an apostrophe
    postalCode: cells.text(columns.postalCode, 21).replace(/^'/, '') || undefined,
    city: cells.text(columns.city),
    country: cells.text(columns.country),
  };
}
