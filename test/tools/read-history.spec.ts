import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImportError } from '../../src/tools/import/import-error';
import { formatMinor, parseMinor } from '../../src/tools/import/money';
import { type History, readHistory, totalOf } from '../../src/tools/import/read-history';

const header = 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'orderloom-history-'));
});
afterAll(() => rm(directory, { recursive: true }));

async function historyOf(...lines: string[]): Promise<History> {
  return readHistory(await fileWith(header, ...lines), 'GBP');
}

async function fileWith(...lines: string[]): Promise<string> {
  const file = join(directory, 'history.csv');
  await writeFile(file, lines.map((line) => `${line}\n`).join(''));
  return file;
}

/** A line that can be sold, but for what is said. */
function line(
  given: Partial<Record<'invoice' | 'sku' | 'name' | 'quantity' | 'at' | 'price' | 'customer', string>> = {},
) {
  const at = given.at ?? '2010-12-01T08:26:00Z';
  const {
    invoice = '536365',
    sku = '85123A',
    name = 'HEART',
    quantity = '6',
    price = '2.55',
    customer = '17850',
  } = given;
  return [invoice, sku, name, quantity, at, price, customer, 'United Kingdom'].join(',');
}

describe('reading an order history', () => {
  describe('the real one', () => {
    let history: History;
    beforeAll(async () => {
      history = await readHistory(join(__dirname, '../data/online-retail-10k.csv'), 'GBP');
    });

    it('finds 424 invoices that can be sold, with 9,854 lines of together 184,248.33', () => {
      expect(history).toMatchObject({
        lineCount: 10_000,
        invoiceCount: 512,
        orderLineCount: 9854,
        totalMinor: 18_424_833,
      });
      expect(history.orders).toHaveLength(424);
      expect(history.orders.reduce((sum, order) => sum + totalOf(order), 0)).toBe(18_424_833);
      expect(Math.max(...history.orders.map(({ lines }) => lines.length))).toBe(593);
    });

    it('reports 43 credit notes of together −3,580.58 and imports none', () => {
      expect(history.creditNotes.invoiceNos).toHaveLength(43);
      expect(history.creditNotes.totalMinor).toBe(-358_058);
      expect(history.orders.filter(({ invoiceNo }) => invoiceNo.startsWith('C'))).toEqual([]);
    });

    it('reports 45 invoices of which no line can be sold', () => {
      expect(history.unsellable).toHaveLength(45);
      expect(history.orders.length + history.creditNotes.invoiceNos.length + history.unsellable.length).toBe(512);
    });

    it('accounts for every line: sold, or dropped for one reason', () => {
      const reasons = new Map<string, number>();
      for (const { reason } of history.dropped) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      expect(Object.fromEntries(reasons)).toEqual({
        'credit note': 100,
        'negative quantity (write-off)': 30,
        'no price': 16,
      });
      expect(history.orderLineCount + history.dropped.length).toBe(10_000);
    });

    it('knows 303 customers by number, and 23 orders of guests', () => {
      expect(history.customers).toHaveLength(303);
      expect(history.orders.filter(({ customerId }) => customerId === undefined)).toHaveLength(23);
    });

    it('lists 1,990 stock codes, of which 27 differ from another by case only', () => {
      const skus = history.products.map(({ sku }) => sku);
      expect(skus).toHaveLength(1990);
      expect(skus.length - new Set(skus.map((sku) => sku.toLowerCase())).size).toBe(27);
      expect(history.products.every(({ name }) => name !== '')).toBe(true);
    });

    it('orders exactly as much stock as the lines sell', () => {
      const sold = history.orders.flatMap(({ lines }) => lines).reduce((sum, { quantity }) => sum + quantity, 0);
      expect(history.products.reduce((sum, goods) => sum + goods.sold, 0)).toBe(sold);
      expect(sold).toBe(90_121);
    });
  });

  it('keeps two lines of the same code on one invoice, each with its own price', async () => {
    const { orders, products } = await historyOf(line({ price: '2.55' }), line({ price: '2.1', quantity: '2' }));
    expect(orders[0]?.lines).toEqual([
      { sku: '85123A', quantity: 6, unitPriceMinor: 255 },
      { sku: '85123A', quantity: 2, unitPriceMinor: 210 },
    ]);
    expect(products).toMatchObject([{ sku: '85123A', priceMinor: 255, sold: 8 }]);
  });

  it('takes 85123a and 85123A for two products', async () => {
    const { products } = await historyOf(line({ sku: '85123a' }), line({ sku: '85123A' }));
    expect(products.map(({ sku }) => sku)).toEqual(['85123a', '85123A']);
  });

  it('names a product by its first description, and by its code when there is none', async () => {
    const { products } = await historyOf(line({ name: '' }), line({ name: 'HEART' }), line({ sku: 'POST', name: '' }));
    expect(products.map(({ name }) => name)).toEqual(['HEART', 'POST']);
  });

  it('replays orders in the order of their time, wherever they stand in the file', async () => {
    const later = line({ invoice: '2', at: '2010-12-02T08:00:00Z' });
    const { orders } = await historyOf(later, line({ invoice: '3' }), line({ invoice: '1' }), later);
    expect(orders.map(({ invoiceNo, lines }) => [invoiceNo, lines.length])).toEqual([
      ['1', 1],
      ['3', 1],
      ['2', 2],
    ]);
  });

  it('takes an invoice without customer for a guest’s', async () => {
    const { orders, customers } = await historyOf(line({ customer: '' }));
    expect(orders[0]?.customerId).toBeUndefined();
    expect(customers).toEqual([]);
  });

  it.each([
    ['no quantity', { quantity: '' }],
    ['no quantity', { quantity: '0' }],
    ['negative quantity (write-off)', { quantity: '-3', price: '0' }],
    ['no price', { price: '' }],
    ['no price', { price: '0.00' }],
    ['negative price', { price: '-11062.06' }],
    ['price finer than the currency', { price: '0.001' }],
    ['no stock code', { sku: '' }],
    ['credit note', { invoice: 'C536379', quantity: '-1' }],
  ])('drops a line for one reason, says where it stands, and keeps the others: %s %j', async (reason, given) => {
    const { dropped, orders } = await historyOf(line(), line(given));
    expect(dropped).toMatchObject([{ line: 3, reason }]);
    expect(orders[0]?.lines).toHaveLength(1);
  });

  it('does not call a price too fine for zeros at its end', async () => {
    const { orders } = await historyOf(line({ price: '2.5500' }));
    expect(orders[0]?.lines[0]?.unitPriceMinor).toBe(255);
  });

  it('says that an invoice has no line left', async () => {
    const { unsellable, orders } = await historyOf(line({ price: '0' }), line({ price: '0' }));
    expect(unsellable).toEqual(['536365']);
    expect(orders).toEqual([]);
  });

  it('hashes the same sales equally in another file, and other sales differently', async () => {
    const hashOf = async (...lines: string[]) => (await historyOf(...lines)).products[0]?.salesHash;
    const hash = await hashOf(line());
    expect(await hashOf(line({ name: 'OTHER' }), line({ invoice: '9', sku: 'OTHER' }))).toBe(hash);
    expect(await hashOf(line({ quantity: '7' }))).not.toBe(hash);
    expect(await hashOf(line({ invoice: '9' }))).not.toBe(hash);
  });

  it.each([
    ['line 3: Quantity is "six", but must be a whole number', { quantity: 'six' }],
    ['line 3: UnitPrice is "2,55"', { price: '"2,55"' }],
    ['line 3: InvoiceDate is "12/1/2010 8:26", but must be RFC 3339', { invoice: '2', at: '12/1/2010 8:26' }],
    ['line 3: InvoiceNo is empty', { invoice: '' }],
    ['line 3: CustomerID is "a@b"', { invoice: '2', customer: 'a@b' }],
    ['line 3: invoice 536365 has another CustomerID here than in line 2', { customer: '1' }],
  ])('refuses a file that makes no sense, with the line: %s', async (message, given) => {
    const reading = historyOf(line(), line(given));
    await expect(reading).rejects.toThrow(ImportError);
    await expect(reading).rejects.toThrow(message);
  });

  it('refuses a file with another header, and says what it should be', async () => {
    const reading = fileWith('InvoiceNo;StockCode', '1;2').then((file) => readHistory(file, 'GBP'));
    await expect(reading).rejects.toThrow(`its first line must be ${header}`);
  });

  it('refuses a file that is not there, is empty or has a line too short', async () => {
    await expect(readHistory(join(directory, 'missing.csv'), 'GBP')).rejects.toThrow('There is no file');
    await expect(fileWith().then((file) => readHistory(file, 'GBP'))).rejects.toThrow('is empty');
    await expect(historyOf('536365,85123A')).rejects.toThrow('expect 8, got 2 on line 2');
  });
});

describe('money', () => {
  it.each([
    ['2.55', 2, 255],
    ['2.5', 2, 250],
    ['0.29', 2, 29],
    ['1.10', 2, 110],
    ['-4.65', 2, -465],
    ['38970', 2, 3_897_000],
    ['1500', 0, 1500],
    ['999999999999.99', 2, 99_999_999_999_999],
    ['2.555', 2, 'too-fine'],
    ['15.5', 0, 'too-fine'],
    ['1e3', 2, 'malformed'],
    ['£2.55', 2, 'malformed'],
    ['.5', 2, 'malformed'],
    ['', 2, 'malformed'],
  ])('reads %j with %d decimals as %p, without rounding', (text, decimals, expected) => {
    expect(parseMinor(text, decimals)).toBe(expected);
  });

  it('is written for people with the decimals of its currency', () => {
    expect(formatMinor(18_424_833, 'GBP')).toBe('184,248.33 GBP');
    expect(formatMinor(-5, 'GBP')).toBe('−0.05 GBP');
    expect(formatMinor(1500, 'JPY')).toBe('1,500 JPY');
  });
});
