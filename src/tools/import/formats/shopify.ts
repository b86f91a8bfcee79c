import type { Cells } from '../cells';
import type { Amounts, Format, OrderHead, OrderRow } from './format';
import { type AddressColumns, addressFrom, customerByEmail, skuOf } from './shop';

const paid = ['paid', 'partially_refunded'];
const neverPaid = ['pending', 'authorized', 'partially_paid', 'unpaid', 'expired'];

/**
 * The export of Shopify's order page (`orders_export.csv`). An order has a row for each of its lines; what concerns the
 * whole order stands in the first of them only.
 */
export const shopify: Format = {
  name: 'shopify',
  columns: named([
    'Name',
    'Email',
    'Financial Status',
    'Fulfillment Status',
    'Currency',
    'Shipping',
    'Taxes',
    'Total',
    'Discount Amount',
    'Refunded Amount',
    'Created at',
    'Cancelled at',
    'Lineitem quantity',
    'Lineitem name',
    'Lineitem price',
    'Lineitem sku',
    ...['Billing', 'Shipping'].flatMap((kind) =>
      ['Name', 'Address1', 'Address2', 'City', 'Zip', 'Country'].map((part) => `${kind} ${part}`),
    ),
  ]),
  optional: ['Billing Address2', 'Shipping Address2', 'Refunded Amount'],
  dateFormats: ['yyyy-MM-dd HH:mm:ss ZZZ'],
  headOnce: true,
  freeGoods: true,

  read(cells: Cells): OrderRow | undefined {
    const reference = cells.text('Name', 100);
    if (!reference) return cells.mistake('Name is empty');
    const first = cells.text('Total') !== '';
    const head = first ? headOf(cells) : undefined;
    const quantity = cells.quantity('Lineitem quantity');
    const unitPriceMinor = cells.price('Lineitem price');
    if ((first && !head) || quantity === undefined || unitPriceMinor === undefined) return undefined;
    const name = cells.text('Lineitem name', 10_000);
    const goods = { sku: skuOf(cells.text('Lineitem sku', 64), name), name, quantity, unitPriceMinor };
    return { reference, head, goods: { ...goods, unitPrice: cells.text('Lineitem price') } };
  },
};

function headOf(cells: Cells): OrderHead | undefined {
  const currency = cells.text('Currency');
  if (currency !== cells.currency) {
    return cells.mistake(
      `Currency is ${currency}, but the import is in ${cells.currency}: give --currency ${currency}`,
    );
  }
  const orderedAt = cells.instant('Created at');
  const amounts = amountsOf(cells);
  const fate = fateOf(cells, amounts);
  if (!orderedAt || !amounts || !fate) return undefined;
  const recipient = cells.firstText('Shipping Name', 'Billing Name');
  const address = addressFrom(cells, recipient, ['Shipping', 'Billing'].map(addressColumns));
  const customer = customerByEmail(cells.text('Email', 254), cells.firstText('Billing Name', 'Shipping Name'));
  return { orderedAt, customer, address, fate, amounts };
}

function addressColumns(kind: string): AddressColumns {
  return {
    line1: `${kind} Address1`,
    line2: `${kind} Address2`,
    postalCode: `${kind} Zip`,
    city: `${kind} City`,
    country: `${kind} Country`,
  };
}

function amountsOf(cells: Cells): Amounts | undefined {
  const total = cells.amount('Total');
  const shipping = cells.amount('Shipping');
  const taxes = cells.amount('Taxes');
  const discount = cells.amount('Discount Amount');
  const refunded = cells.amount('Refunded Amount');
  if (total === undefined || shipping === undefined || taxes === undefined) return undefined;
  if (discount === undefined || refunded === undefined) return undefined;
  return { total, shipping, taxes, discount, refunded };
}

function fateOf(cells: Cells, amounts: Amounts | undefined): OrderHead['fate'] | undefined {
  const status = cells.text('Financial Status').toLowerCase();
  if (cells.text('Cancelled at') !== '' || status === 'voided') return { leftOut: 'cancelled' };
  if (status === 'refunded' || (amounts && amounts.refunded > 0 && amounts.refunded >= amounts.total)) {
    return { leftOut: 'refunded in full' };
  }
  if (neverPaid.includes(status) || status === '') return { leftOut: 'not paid' };
  if (!paid.includes(status)) {
    return cells.mistake(
      `Financial Status is "${status}", but must be one of ${[...paid, ...neverPaid].join(', ')}, …`,
    );
  }
  return { target: cells.text('Fulfillment Status').toLowerCase() === 'fulfilled' ? 'completed' : 'fulfilling' };
}

function named(names: readonly string[]): Record<string, readonly string[]> {
  return Object.fromEntries(names.map((name) => [name, []]));
}
