import type { Cells } from '../cells';
import type { Amounts, Format, OrderHead, OrderRow } from './format';
import { type AddressColumns, addressFrom, customerByEmail, skuOf } from './shop';

/** By WooCommerce's statuses, as labels or as slugs. */
const fates: Readonly<Record<string, OrderHead['fate']>> = {
  completed: { target: 'completed' },
  processing: { target: 'fulfilling' },
  'on-hold': { leftOut: 'not paid' },
  pending: { leftOut: 'not paid' },
  'pending-payment': { leftOut: 'not paid' },
  draft: { leftOut: 'not paid' },
  'checkout-draft': { leftOut: 'not paid' },
  failed: { leftOut: 'not paid' },
  cancelled: { leftOut: 'cancelled' },
  refunded: { leftOut: 'refunded in full' },
};

/**
 * The export of the plug-in Advanced Order Export For WooCommerce with its default columns. An order has a row for each
 * of its lines; what concerns the whole order stands in the first of them, or in all.
 */
export const woocommerce: Format = {
  name: 'woocommerce',
  columns: {
    'Order Number': [],
    'Order Status': [],
    'Order Date': [],
    'Order Currency': [],
    'Email (Billing)': [],
    ...Object.fromEntries(
      ['Billing', 'Shipping'].flatMap((kind) =>
        ['First Name', 'Last Name', 'Address 1&2', 'City', 'Postcode', 'Country Code'].map((part) => [
          `${part} (${kind})`,
          [],
        ]),
      ),
    ),
    'Cart Discount Amount': [],
    'Order Shipping Amount': [],
    'Order Refund Amount': [],
    'Order Total Amount': [],
    'Order Total Tax Amount': [],
    SKU: [],
    'Item Name': ['Name', 'Product Name'],
    'Quantity (- Refund)': ['Quantity'],
    'Item Cost': [],
  },
  optional: ['Order Currency'],
  dateFormats: ['yyyy-MM-dd HH:mm', 'yyyy-MM-dd HH:mm:ss'],
  headOnce: false,
  freeGoods: true,

  read(cells: Cells): OrderRow | undefined {
    const reference = cells.text('Order Number', 100);
    if (!reference) return cells.mistake('Order Number is empty');
    const first = cells.text('Order Status') !== '';
    const head = first ? headOf(cells) : undefined;
    const quantity = cells.quantity('Quantity (- Refund)');
    const unitPriceMinor = cells.price('Item Cost');
    if ((first && !head) || quantity === undefined || unitPriceMinor === undefined) return undefined;
    const name = cells.text('Item Name', 10_000);
    const goods = { sku: skuOf(cells.text('SKU', 64), name), name, quantity, unitPriceMinor };
    return { reference, head, goods: { ...goods, unitPrice: cells.text('Item Cost') } };
  },
};

function headOf(cells: Cells): OrderHead | undefined {
  const currency = cells.text('Order Currency');
  if (currency !== '' && currency !== cells.currency) {
    return cells.mistake(
      `Order Currency is ${currency}, but the import is in ${cells.currency}: give --currency ${currency}`,
    );
  }
  const orderedAt = cells.instant('Order Date');
  const amounts = amountsOf(cells);
  const status = cells.text('Order Status');
  const slug = status.toLowerCase().replace(/^wc-/, '').replaceAll(' ', '-');
  const known = Object.hasOwn(fates, slug) ? fates[slug] : undefined;
  if (!known) cells.mistake(`Order Status is "${status}", but must be one of ${Object.keys(fates).join(', ')}`);
  if (!orderedAt || !amounts || !known) return undefined;
  const buyer = nameOf(cells, 'Billing');
  const fate = amounts.refunded > 0 && amounts.refunded >= amounts.total ? fates['refunded']! : known;
  return {
    orderedAt,
    customer: customerByEmail(cells.text('Email (Billing)', 254), buyer),
    address: addressFrom(cells, nameOf(cells, 'Shipping') || buyer, ['Shipping', 'Billing'].map(addressColumns)),
    fate,
    amounts,
  };
}

function addressColumns(kind: string): AddressColumns {
  return {
    line1: `Address 1&2 (${kind})`,
    line2: 'none', // both lines are in one column
    postalCode: `Postcode (${kind})`,
    city: `City (${kind})`,
    country: `Country Code (${kind})`,
  };
}

function nameOf(cells: Cells, kind: 'Billing' | 'Shipping'): string {
  return `${cells.text(`First Name (${kind})`, 99)} ${cells.text(`Last Name (${kind})`, 99)}`.trim();
}

function amountsOf(cells: Cells): Amounts | undefined {
  const total = cells.amount('Order Total Amount');
  const shipping = cells.amount('Order Shipping Amount');
  const taxes = cells.amount('Order Total Tax Amount');
  const discount = cells.amount('Cart Discount Amount');
  const refunded = cells.amount('Order Refund Amount');
  if (total === undefined || shipping === undefined || taxes === undefined) return undefined;
  if (discount === undefined || refunded === undefined) return undefined;
  return { total, shipping, taxes, discount, refunded };
}
