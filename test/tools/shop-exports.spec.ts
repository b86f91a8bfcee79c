import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'csv-parse/sync';
import type { History } from '../../src/tools/import/history';
import { skuKey } from '../../src/tools/import/keys';
import { readHistory } from '../../src/tools/import/read-history';
import { settle } from '../../src/tools/import/settle';

const data = join(__dirname, '../data');
type Row = Record<string, string>;

const minor = (text: string) => Math.round(Number(text) * 100);

/** The same facts under the names of each product. */
const shops = [
  {
    format: 'shopify',
    number: (nth: number) => `#${1000 + nth}`,
    sums: (row: Row) => ({ total: minor(row['Total']!), refunded: minor(row['Refunded Amount']!) }),
    isFirst: (row: Row) => row['Total'] !== '',
    status: 'Financial Status',
    pending: /,pending,(?=,unfulfilled)/,
    pieces: /\d(?=,Apron)/,
    quantity: 'Lineitem quantity',
  },
  {
    format: 'woocommerce',
    number: (nth: number) => String(2000 + nth),
    sums: (row: Row) => ({ total: minor(row['Order Total Amount']!), refunded: minor(row['Order Refund Amount']!) }),
    isFirst: (row: Row) => row['Item #'] === '1',
    status: 'Order Status',
    pending: ',Pending payment,',
    pieces: /(?<=Linen \/ L,)\d/,
    quantity: 'Quantity (- Refund)',
  },
];

describe.each(shops)(
  'the export of $format',
  ({ format, number, sums, isFirst, status, pending, pieces, quantity }) => {
    const file = join(data, `${format}-orders.csv`);
    const options = { format, currency: 'EUR', timeZone: 'Europe/Berlin' };
    let history: History;
    let text: string;
    let directory: string;

    beforeAll(async () => {
      history = await readHistory(file, options);
      text = await readFile(file, 'utf8');
      directory = await mkdtemp(join(tmpdir(), 'orderloom-exports-'));
    });
    afterAll(async () => {
      history.close();
      await rm(directory, { recursive: true });
    });

    /** With the cells of one column changed. */
    const readWith = async (change: (text: string) => string) => {
      const changed = join(directory, 'changed.csv');
      await writeFile(changed, change(text));
      const read = await readHistory(changed, options);
      read.close();
    };
    const orderOf = (nth: number) => [...history.orders()].find(({ reference }) => reference === number(nth))!;

    it('is what its script makes', () => {
      // eslint-disable-next-line @typescript-eslint/no-require-imports
      expect(require('../data/make-exports.js')[`${format}-orders.csv`]).toBe(text);
    });

    it('comes to the totals of the file, and what is left out is told by its reason', () => {
      const rows = parse<Row>(text, { columns: true }).filter(isFirst);
      const all = rows.reduce((sum, row) => sum + sums(row).total, 0);
      const { totals } = history;
      const leftOut = totals.leftOut.reduce((sum, { totalMinor }) => sum + totalMinor, 0);
      expect(totals.totalMinor + totals.refunded.totalMinor + leftOut).toBe(all);
      expect(totals.leftOut.map(({ reason, orders }) => [reason, orders]).sort()).toEqual([
        ['cancelled', 1],
        ['not paid', 1],
        ['refunded in full', 1],
      ]);
      expect([totals.orders, totals.open, totals.refunded.orders]).toEqual([17, 1, 1]);
      const paid = (nth: number) => sums(rows.find((row) => Object.values(row)[0] === number(nth))!);
      for (const nth of [1, 2, 3, 4, 8]) {
        const { total, refunded } = paid(nth);
        expect([nth, orderOf(nth).totalMinor]).toEqual([nth, total - refunded]);
      }
    });

    it('has shipping and taxes as lines, and the discount in the prices', () => {
      const lines = history.linesOf(number(1));
      expect(lines.map(({ sku, unitPriceMinor }) => [sku, unitPriceMinor])).toEqual([
        ['MUG-BLUE', 1250],
        ['POSTER-A2', 1999],
        ['SHIPPING', 490],
        ['TAXES', 1098],
      ]);
      const discounted = history.linesOf(number(2)).filter(({ sku }) => sku === 'POSTER-A2');
      expect(discounted.reduce((sum, line) => sum + line.quantity, 0)).toBe(7);
      expect(discounted.every(({ unitPriceMinor }) => [1799, 1800].includes(unitPriceMinor))).toBe(true);
    });

    it('takes goods for nothing, and a name for a missing code', () => {
      expect(history.linesOf(number(4)).find(({ sku }) => sku === 'STICKER')?.unitPriceMinor).toBe(0);
      expect(history.linesOf(number(3))[0]?.sku).toBe(skuKey('Candle, unscented'));
    });

    it('knows customers by their address, and where the goods go', () => {
      expect([...history.customers()]).toContainEqual({
        id: 'zoe.martin@example.com',
        email: 'zoe.martin@example.com',
        name: 'Zoë Martin',
      });
      expect(orderOf(2).address).toMatchObject({ name: 'Jonas Weber', line1: 'Hauptstr. 5', postalCode: '01067' });
      // no address for shipping: the one of the bill
      expect(orderOf(8)).toMatchObject({ countryCode: 'IE', address: { city: 'Galway', postalCode: 'H91 XY01' } });
    });

    it('says in the report what is not imported as it stands', () => {
      const reasons = [...history.remarks()].map(({ reference, reason }) => `${reference}: ${reason}`);
      expect(reasons.sort()).toEqual([
        `${number(4)}: 15.00 EUR of 74.90 EUR were refunded: imported with the rest`,
        `${number(5)}: refunded in full (17.40 EUR): order not imported`,
        `${number(6)}: not paid (44.88 EUR): order not imported`,
        `${number(7)}: cancelled (38.90 EUR): order not imported`,
      ]);
    });

    it('is refused with a status that is not known, and with pieces that are none', async () => {
      await expect(readWith((each) => each.replace(pending, ',lost,'))).rejects.toThrow(`${status} is "lost"`);
      await expect(readWith((each) => each.replace(pieces, 'half'))).rejects.toThrow(`${quantity} is "half"`);
    });
  },
);

describe('the export of shopify', () => {
  const read = async (change: (lines: string[]) => string[], currency = 'EUR') => {
    const directory = await mkdtemp(join(tmpdir(), 'orderloom-exports-'));
    const lines = (await readFile(join(data, 'shopify-orders.csv'), 'utf8')).trimEnd().split('\n');
    await writeFile(join(directory, 'changed.csv'), change(lines).join('\n'));
    return readHistory(join(directory, 'changed.csv'), { format: 'shopify', currency })
      .then((history) => history.close())
      .finally(() => rm(directory, { recursive: true }));
  };

  it('is refused when it begins in the middle of an order, or has one twice', async () => {
    await expect(read(([header, , ...rest]) => [header!, ...rest])).rejects.toThrow('begins in the middle');
    await expect(read((lines) => [...lines, ...lines.slice(1, 3)])).rejects.toThrow('begins a second time');
  });

  it('is refused in another currency than that of the import', async () => {
    await expect(read((lines) => lines, 'GBP')).rejects.toThrow('give --currency EUR');
  });
});

describe('settling an order', () => {
  const amounts = { total: 0, shipping: 0, taxes: 0, discount: 0, refunded: 0 };
  const lines = [
    { sku: 'A', quantity: 3, unitPriceMinor: 333 },
    { sku: 'B', quantity: 1, unitPriceMinor: 1000 },
  ];
  const sumOf = (settled: ReturnType<typeof settle>) =>
    settled.lines.reduce((sum, { quantity, unitPriceMinor }) => sum + quantity * unitPriceMinor, 0);

  it.each([
    ['the goods alone', { total: 1999 }, 0],
    ['taxes on top', { total: 2379, taxes: 380 }, 0],
    ['taxes in the prices', { total: 1999, taxes: 319 }, 0],
    ['a discount', { total: 1899, discount: 100 }, 0],
    ['prices that have the discount already', { total: 1999, discount: 100 }, 0],
    ['shipping, taxes and a discount', { total: 2600, shipping: 500, taxes: 201, discount: 100 }, 0],
    ['a refund', { total: 1999, refunded: 700 }, 0],
    ['a refund of all but shipping', { total: 2499, shipping: 500, refunded: 2100 }, 0],
    ['a refund of pieces that are not in the lines', { total: 2999, refunded: 1000 }, 0],
    ['a penny too much, by rounding', { total: 2000 }, 0],
    ['a tip that no column tells', { total: 2999 }, 1000],
    ['a gift card that no column tells', { total: 999 }, -1000],
  ])('comes to what was paid: %s', (_, given, unexplainedMinor) => {
    const settled = settle(lines, { ...amounts, ...given });
    expect([sumOf(settled), settled.unexplainedMinor]).toEqual([
      given.total - ('refunded' in given ? given.refunded : 0),
      unexplainedMinor,
    ]);
    expect(settled.lines.every(({ unitPriceMinor }) => unitPriceMinor >= 0)).toBe(true);
    // a line of its own for what is charged and not told, but not for what rounding brings
    expect(settled.lines.some(({ sku }) => sku === 'OTHER-CHARGES')).toBe(unexplainedMinor > 0);
  });
});
