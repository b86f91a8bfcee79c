// Writes shopify-orders.csv and woocommerce-orders.csv: made up orders, with the columns that the exports of these
// products have. The same on every run: node test/data/make-exports.js
const { writeFileSync } = require('node:fs');
const { join } = require('node:path');

const shopifyColumns =
  'Name,Email,Financial Status,Paid at,Fulfillment Status,Fulfilled at,Accepts Marketing,Currency,Subtotal,Shipping,Taxes,Total,Discount Code,Discount Amount,Shipping Method,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem compare at price,Lineitem sku,Lineitem requires shipping,Lineitem taxable,Lineitem fulfillment status,Billing Name,Billing Street,Billing Address1,Billing Address2,Billing Company,Billing City,Billing Zip,Billing Province,Billing Country,Billing Phone,Shipping Name,Shipping Street,Shipping Address1,Shipping Address2,Shipping Company,Shipping City,Shipping Zip,Shipping Province,Shipping Country,Shipping Phone,Notes,Note Attributes,Cancelled at,Payment Method,Payment Reference,Refunded Amount,Vendor,Outstanding Balance,Employee,Location,Device ID,Id,Tags,Risk Level,Source,Lineitem discount,Tax 1 Name,Tax 1 Value,Tax 2 Name,Tax 2 Value,Tax 3 Name,Tax 3 Value,Tax 4 Name,Tax 4 Value,Tax 5 Name,Tax 5 Value,Phone,Receipt Number,Duties,Billing Province Name,Shipping Province Name,Payment ID,Payment Terms Name,Next Payment Due At,Payment References'.split(
    ',',
  );
// the default columns of Advanced Order Export For WooCommerce
const woocommerceColumns =
  'Order Number,Order Status,Order Date,Customer Note,First Name (Billing),Last Name (Billing),Company (Billing),Address 1&2 (Billing),City (Billing),State Code (Billing),Postcode (Billing),Country Code (Billing),Email (Billing),Phone (Billing),First Name (Shipping),Last Name (Shipping),Address 1&2 (Shipping),City (Shipping),State Code (Shipping),Postcode (Shipping),Country Code (Shipping),Payment Method Title,Cart Discount Amount,Order Subtotal Amount,Shipping Method Title,Order Shipping Amount,Order Refund Amount,Order Total Amount,Order Total Tax Amount,SKU,Item #,Item Name,Quantity (- Refund),Item Cost,Coupon Code,Discount Amount,Discount Amount Tax'.split(
    ',',
  );

const goods = {
  mug: { sku: 'MUG-BLUE', name: 'Mug - Blue', price: 1250 },
  poster: { sku: 'POSTER-A2', name: 'Poster "Harbour", 16" wide', price: 1999 },
  apron: { sku: 'APRON-L', name: 'Apron - Linen / L', price: 3400 },
  candle: { sku: '', name: 'Candle, unscented', price: 899 },
  sticker: { sku: 'STICKER', name: 'Sticker', price: 0 },
};

const people = [
  {
    first: 'Zoë',
    last: 'Martin',
    email: 'Zoe.Martin@example.com',
    street: '3 rue des Écoles',
    city: 'Lyon',
    zip: '69001',
    country: 'FR',
  },
  {
    first: 'Jonas',
    last: 'Weber',
    email: 'jonas@example.com',
    street: 'Hauptstr. 5',
    city: 'Dresden',
    zip: '01067',
    country: 'DE',
  },
  {
    first: 'Aoife',
    last: "O'Brien",
    email: 'aoife@example.com',
    street: '12 Quay St',
    city: 'Galway',
    zip: 'H91 XY01',
    country: 'IE',
  },
];

/**
 * What happened to each order, in minor units: `lines` of goods and pieces, `off` in percent, taxes on top unless they
 * are `included`, `refunded` in the end.
 */
const orders = [
  {
    who: 0,
    lines: [
      ['mug', 2],
      ['poster', 1],
    ],
    shipping: 490,
    taxes: 1098,
  },
  {
    who: 1,
    lines: [
      ['mug', 3],
      ['apron', 1],
      ['poster', 7],
    ],
    off: 10,
    shipping: 490,
    included: true,
  },
  { who: 1, lines: [['candle', 3]], shipping: 0, taxes: 512, sent: false },
  {
    who: 2,
    lines: [
      ['apron', 2],
      ['sticker', 1],
    ],
    shipping: 690,
    refunded: 1500,
  },
  { who: 2, lines: [['mug', 1]], shipping: 490, status: 'refunded' },
  { who: 0, lines: [['poster', 2]], shipping: 490, status: 'pending', sent: false },
  { who: 0, lines: [['apron', 1]], shipping: 490, status: 'cancelled', sent: false },
  {
    who: 2,
    lines: [
      ['mug', 1],
      ['candle', 1],
    ],
    off: 15,
    shipping: 0,
    taxes: 321,
    elsewhere: true,
  },
];
// and some more of everyday business
for (let nth = 0; nth < 12; nth++) {
  const lines = Object.keys(goods).slice(nth % 3, (nth % 3) + 1 + (nth % 2));
  orders.push({
    who: nth % 3,
    lines: lines.map((name, at) => [name, 1 + ((nth + at) % 4)]),
    shipping: nth % 4 === 0 ? 0 : 490,
    taxes: nth % 2 === 0 ? 100 + 37 * nth : 0,
    off: nth % 5 === 0 ? 5 : 0,
  });
}

const decimal = (minor) => (minor / 100).toFixed(2);
const cell = (value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
const file = (columns, rows) =>
  [columns, ...rows.map((row) => columns.map((name) => row[name] ?? ''))]
    .map((row) => `${row.map(cell).join(',')}\n`)
    .join('');

function amountsOf({ lines, shipping, taxes = 0, off = 0, included = false }) {
  const subtotal = lines.reduce((sum, [name, pieces]) => sum + goods[name].price * pieces, 0);
  const discount = Math.round((subtotal * off) / 100);
  const tax = included ? Math.round((subtotal - discount) * 0.19) : taxes;
  return { subtotal, discount, taxes: tax, total: subtotal - discount + shipping + (included ? 0 : tax) };
}

function shopifyRows(order, nth) {
  const { who, lines, shipping, status = 'paid', sent = true, refunded = 0, elsewhere } = order;
  const { first, last, email, street, city, zip, country } = people[who];
  const { subtotal, discount, taxes, total } = amountsOf(order);
  const at = `2026-03-${String(1 + nth).padStart(2, '0')} 10:${String(nth).padStart(2, '0')}:07 +0100`;
  const address = (kind) => ({
    [`${kind} Name`]: `${first} ${last}`,
    [`${kind} Street`]: street,
    [`${kind} Address1`]: street,
    [`${kind} City`]: city,
    [`${kind} Zip`]: /^\d/.test(zip) ? `'${zip}` : zip,
    [`${kind} Country`]: country,
  });
  const repaid = status === 'refunded' ? total : refunded;
  const paid = !['pending', 'cancelled'].includes(status);
  const head = {
    'Financial Status': status === 'cancelled' ? 'voided' : refunded ? 'partially_refunded' : status,
    'Paid at': paid ? at : '',
    'Fulfillment Status': sent ? 'fulfilled' : 'unfulfilled',
    'Fulfilled at': sent ? at : '',
    'Accepts Marketing': 'no',
    Currency: 'EUR',
    Subtotal: decimal(subtotal - discount),
    Shipping: decimal(shipping),
    Taxes: decimal(taxes),
    Total: decimal(total),
    'Discount Code': discount ? 'SPRING' : '',
    'Discount Amount': decimal(discount),
    'Shipping Method': 'Standard',
    ...address('Billing'),
    // what is not sent, such as a download, has no address to go to
    ...(elsewhere ? {} : address('Shipping')),
    Notes: nth === 0 ? 'Ring twice,\n"loud"' : '',
    'Cancelled at': status === 'cancelled' ? at : '',
    'Payment Method': 'Shopify Payments',
    'Refunded Amount': decimal(repaid),
    Id: String(6_410_991_464_000 + nth),
    'Risk Level': 'Low',
    Source: 'web',
  };
  return lines.map(([name, pieces], place) => ({
    Name: `#${1001 + nth}`,
    Email: email,
    ...(place === 0 ? head : {}),
    'Created at': at,
    'Lineitem quantity': String(pieces),
    'Lineitem name': goods[name].name,
    'Lineitem price': decimal(goods[name].price),
    'Lineitem sku': goods[name].sku,
    'Lineitem requires shipping': 'true',
    'Lineitem taxable': 'true',
    'Lineitem fulfillment status': sent ? 'fulfilled' : 'pending',
    Vendor: 'Harbour Shop',
    'Lineitem discount': '0.00',
  }));
}

function woocommerceRows(order, nth) {
  const { who, lines, shipping, status = 'paid', sent = true, refunded = 0, elsewhere } = order;
  const { first, last, email, street, city, zip, country } = people[who];
  const { subtotal, discount, taxes, total } = amountsOf({ ...order, included: false });
  const address = (kind) => ({
    [`First Name (${kind})`]: first,
    [`Last Name (${kind})`]: last,
    [`Address 1&2 (${kind})`]: street,
    [`City (${kind})`]: city,
    [`Postcode (${kind})`]: zip,
    [`Country Code (${kind})`]: country,
  });
  const labels = {
    paid: sent ? 'Completed' : 'Processing',
    refunded: 'Refunded',
    pending: 'Pending payment',
    cancelled: 'Cancelled',
  };
  return lines.map(([name, pieces], at) => ({
    'Order Number': String(2001 + nth),
    'Order Status': labels[status],
    'Order Date': `2026-04-${String(1 + nth).padStart(2, '0')} 10:${String(nth).padStart(2, '0')}`,
    'Customer Note': nth === 0 ? 'Ring twice,\n"loud"' : '',
    ...address('Billing'),
    'Email (Billing)': email,
    ...(elsewhere ? {} : address('Shipping')),
    'Payment Method Title': 'Card',
    'Cart Discount Amount': decimal(discount),
    'Order Subtotal Amount': decimal(subtotal),
    'Shipping Method Title': 'Flat rate',
    'Order Shipping Amount': decimal(shipping),
    'Order Refund Amount': decimal(status === 'refunded' ? total : refunded),
    'Order Total Amount': decimal(total),
    'Order Total Tax Amount': decimal(taxes),
    SKU: goods[name].sku,
    'Item #': String(at + 1),
    'Item Name': goods[name].name,
    'Quantity (- Refund)': String(pieces),
    // the plug-in gives the price after the discount, rounded
    'Item Cost': decimal(Math.round(goods[name].price * (1 - (order.off ?? 0) / 100))),
    'Coupon Code': discount ? 'spring' : '',
    'Discount Amount': decimal(Math.round((goods[name].price * pieces * (order.off ?? 0)) / 100)),
    'Discount Amount Tax': '0.00',
  }));
}

// both list the newest first
const newestFirst = [...orders.keys()].reverse();
const files = {
  'shopify-orders.csv': file(
    shopifyColumns,
    newestFirst.flatMap((nth) => shopifyRows(orders[nth], nth)),
  ),
  'woocommerce-orders.csv': file(
    woocommerceColumns,
    newestFirst.flatMap((nth) => woocommerceRows(orders[nth], nth)),
  ),
};
module.exports = files;
if (require.main === module) {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(__dirname, name), text);
}
