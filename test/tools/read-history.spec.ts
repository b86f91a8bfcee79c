import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { History } from '../../src/tools/import/history';
import { ImportError } from '../../src/tools/import/import-error';
import { formatMinor, parseMinor } from '../../src/tools/import/money';
import { readHistory, type ReadOptions } from '../../src/tools/import/read-history';

const header = 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'orderloom-history-'));
});
afterAll(() => rm(directory, { recursive: true }));

const open: History[] = [];
afterEach(() => {
  for (const history of open.splice(0)) history.close();
});

async function historyOf(...lines: string[]) {
  return read(await fileWith(header, ...lines));
}

/** All of it at once, which a test can afford. */
async function read(file: string, options: Partial<ReadOptions> = {}) {
  const history = await readHistory(file, { currency: 'GBP', ...options });
  open.push(history);
  return contentsOf(history);
}

function contentsOf(history: History) {
  return {
    totals: history.totals,
    orders: [...history.orders()].map((order) => ({ ...order, lines: history.linesOf(order.reference) })),
    products: [...history.products()],
    customers: [...history.customers()],
    remarks: [...history.remarks()],
  };
}

async function fileWith(...lines: string[]): Promise<string> {
  const file = join(directory, 'history.csv');
  await writeFile(file, lines.map((line) => `${line}\n`).join(''));
  return file;
}

type Cell = 'invoice' | 'sku' | 'name' | 'quantity' | 'at' | 'price' | 'customer' | 'country';

/** A line that can be sold, but for what is said. */
function line(given: Partial<Record<Cell, string>> = {}) {
  const { invoice = '536365', sku = '85123A', name = 'HEART', quantity = '6', price = '2.55' } = given;
  const { at = '2010-12-01T08:26:00Z', customer = '17850', country = 'United Kingdom' } = given;
  return [invoice, sku, name, quantity, at, price, customer, country].join(',');
}

describe('reading an order history', () => {
  describe('the real one', () => {
    let history: History;
    let contents: ReturnType<typeof contentsOf>;
    beforeAll(async () => {
      history = await readHistory(join(__dirname, '../data/online-retail-10k.csv'), { currency: 'GBP' });
      contents = contentsOf(history);
    });
    afterAll(() => history.close());

    it('finds 424 invoices that can be sold, with 9,854 lines of together 184,248.33', () => {
      const { orders, totals } = contents;
      const counts = { lines: 10_000, invoices: 512, orders: 424, orderLines: 9854, totalMinor: 18_424_833 };
      expect(totals).toMatchObject(counts);
      expect(orders).toHaveLength(424);
      expect(orders.reduce((sum, { totalMinor }) => sum + totalMinor, 0)).toBe(18_424_833);
      expect(Math.max(...orders.map(({ lines }) => lines.length))).toBe(593);
    });

    it('reports 43 credit notes of together −3,580.58 and imports none', () => {
      expect(contents.totals.creditNotes).toEqual({ count: 43, totalMinor: -358_058 });
      expect(contents.orders.filter(({ reference }) => reference.startsWith('C'))).toEqual([]);
    });

    it('reports 45 invoices of which no line can be sold', () => {
      const { unsellable, creditNotes, invoices } = contents.totals;
      expect(unsellable).toBe(45);
      expect(contents.orders.length + creditNotes.count + unsellable).toBe(invoices);
    });

    it('accounts for every line: sold, or dropped for one reason', () => {
      const { dropped, orderLines } = contents.totals;
      expect(dropped).toEqual([
        { reason: 'credit note', lines: 100 },
        { reason: 'negative quantity (write-off)', lines: 30 },
        { reason: 'no price', lines: 16 },
      ]);
      expect(orderLines + 146).toBe(10_000);
    });

    it('knows 303 customers by number, and 23 orders of guests', () => {
      expect(contents.customers).toHaveLength(303);
      expect(contents.orders.filter(({ customerId }) => customerId === undefined)).toHaveLength(23);
    });

    it('lists 1,963 products: of 1,990 stock codes 27 differ from another by case only', () => {
      expect(contents.products).toHaveLength(1963);
      expect(contents.products.every(({ name }) => name !== '')).toBe(true);
    });

    it('knows all of its countries', () => {
      expect(contents.totals.unknownCountries).toEqual([]);
    });
  });

  it('keeps two lines of the same code on one invoice, each with its own price', async () => {
    const { orders, products } = await historyOf(line({ price: '2.55' }), line({ price: '2.1', quantity: '2' }));
    expect(orders[0]?.lines).toEqual([
      { sku: '85123A', quantity: 6, unitPriceMinor: 255 },
      { sku: '85123A', quantity: 2, unitPriceMinor: 210 },
    ]);
    expect(products).toMatchObject([{ sku: '85123A', priceMinor: 255 }]);
  });

  it('takes 85123a and 85123A for one product, spelled as it stands first', async () => {
    const { products } = await historyOf(line({ sku: '85123a' }), line({ sku: '85123A' }));
    expect(products.map(({ spelled }) => spelled)).toEqual(['85123a']);
  });

  it('names a product by its first description, and by its code when there is none', async () => {
    const { products } = await historyOf(line({ name: '' }), line({ name: 'HEART' }), line({ sku: 'POST', name: '' }));
    expect(products.map(({ name }) => name)).toEqual(['HEART', 'POST']);
  });

  it('replays orders in the order of their time, wherever they stand in the file', async () => {
    const later = line({ invoice: '2', at: '2010-12-02T08:00:00Z' });
    const { orders } = await historyOf(later, line({ invoice: '3' }), line({ invoice: '1' }), later);
    expect(orders.map(({ reference, lines }) => [reference, lines.length])).toEqual([
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
    const { remarks, orders } = await historyOf(line(), line(given));
    expect(remarks[0]).toMatchObject({ line: 3, reason });
    expect(orders[0]?.lines).toHaveLength(1);
  });

  it('does not call a price too fine for zeros at its end', async () => {
    const { orders } = await historyOf(line({ price: '2.5500' }));
    expect(orders[0]?.lines[0]?.unitPriceMinor).toBe(255);
  });

  it('says that an invoice has no line left', async () => {
    const { totals, remarks, orders } = await historyOf(line({ price: '0' }), line({ price: '0' }));
    expect(totals.unsellable).toBe(1);
    expect(remarks.at(-1)).toMatchObject({ reference: '536365', reason: 'order without a sellable line' });
    expect(orders).toEqual([]);
  });

  it('tells a return by its sign, whatever the number of the invoice looks like', async () => {
    const { orders, totals } = await historyOf(
      line({ invoice: 'CO1', price: '1.00', quantity: '1' }),
      line({ invoice: '7', price: '2.00', quantity: '-3' }),
    );
    expect(orders.map(({ reference, totalMinor }) => [reference, totalMinor])).toEqual([['CO1', 100]]);
    expect(totals.creditNotes).toEqual({ count: 1, totalMinor: -600 });
  });

  it.each([
    ['GB', 'GB'],
    ['gbr', 'GB'],
    ['United States', 'US'],
    ['germany', 'DE'],
    ['Türkiye', 'TR'],
    ['EIRE', 'IE'],
    ['south korea', 'KR'],
    ['Unspecified', 'ZZ'],
  ])('takes the country %s for %s', async (country, code) => {
    const { orders } = await historyOf(line({ country }));
    expect(orders[0]?.countryCode).toBe(code);
  });

  it('lists the countries that are not known, with their orders', async () => {
    const { totals, remarks } = await historyOf(
      line({ country: 'Narnia' }),
      line({ invoice: '2', country: 'Narnia' }),
      line({ invoice: '3', country: 'France' }),
    );
    expect(totals.unknownCountries).toEqual([{ name: 'Narnia', orders: 2 }]);
    const reason = 'the country "Narnia" is not known: imported as ZZ';
    expect(remarks.map((remark) => [remark.reference, remark.reason]).sort()).toEqual([
      ['2', reason],
      ['536365', reason],
    ]);
  });

  it('takes the names of countries that are told', async () => {
    const file = await fileWith(header, line({ country: 'CHANNEL ISLANDS' }));
    const { orders } = await read(file, { countries: new Map([['Channel Islands', 'Jersey']]) });
    expect(orders[0]?.countryCode).toBe('JE');
  });

  it('takes ids that are texts, and the 17850.0 of a spreadsheet for 17850', async () => {
    const { customers } = await historyOf(line({ customer: 'a@b' }), line({ invoice: '2', customer: '17850.0' }));
    expect(customers.map(({ id }) => id)).toEqual(['17850', 'a@b']);
  });

  it('cuts a long name between characters, and says so', async () => {
    const { products, remarks } = await historyOf(line({ name: `${'x'.repeat(299)}😀` }));
    expect(products[0]?.name).toBe('x'.repeat(299));
    expect(remarks).toMatchObject([{ sku: '85123A', reason: 'its name has 301 characters: cut to 300' }]);
  });

  it('leaves out an order that has more lines than the server takes, and says so', async () => {
    const long = Array.from({ length: 1001 }, (_, nth) => line({ sku: `S${nth}`, price: '1.00', quantity: '1' }));
    const { totals, orders } = await historyOf(...long, line({ invoice: '2' }));
    expect(totals.leftOut).toEqual([{ reason: 'more than 1,000 lines', orders: 1, totalMinor: 100_100 }]);
    expect(orders).toMatchObject([{ reference: '2' }]);
  });

  it('gives the orders of a large file page by page, in the order of their time', async () => {
    const file = join(directory, 'many.csv');
    const lines = Array.from({ length: 4000 }, (_, nth) => line({ invoice: `R${(nth * 7919) % 2000}`, customer: '' }));
    await writeFile(file, [header, ...lines].join('\n'));
    const { totals, orders } = await read(file);
    expect(totals).toMatchObject({ orders: 2000, orderLines: 4000 });
    const references = orders.map(({ reference }) => reference);
    expect(references).toEqual([...new Set(references)].sort());
  });

  it.each([
    ['line 3: Quantity is "six", but must be a whole number', { quantity: 'six' }],
    ['line 3: Quantity is "-", but must be a whole number', { quantity: '-' }],
    ['line 3: UnitPrice is "2,55"', { price: '"2,55"' }],
    ['line 3: InvoiceDate is "12/1/2010 8:26", but must be RFC 3339', { invoice: '2', at: '12/1/2010 8:26' }],
    ['line 3: InvoiceDate is "2010-02-30T08:26:00Z", but that is no date', { at: '2010-02-30T08:26:00Z' }],
    ['line 3: InvoiceDate is 2999-01-01T08:26:00Z, which is in the future', { at: '2999-01-01T08:26:00Z' }],
    ['line 3: InvoiceNo is empty', { invoice: '' }],
    ['line 3: InvoiceNo has 101 characters, but may have 100', { invoice: 'x'.repeat(101) }],
    ['line 3: order 536365 has another customer here than in line 2', { customer: '1' }],
    ['line 3: a cell is "12" RULER": within quotation marks, write a quotation mark twice', { name: '"12" RULER"' }],
    ['line 3: a quotation mark that opens a cell here or further on is never closed', { name: '"HEART' }],
  ])('refuses a file that makes no sense, with the line: %s', async (message, given) => {
    const reading = historyOf(line(), line(given));
    await expect(reading).rejects.toThrow(ImportError);
    await expect(reading).rejects.toThrow(message);
  });

  it('lists the mistakes of a file all at once, up to twenty, and counts the rest', async () => {
    const reading = historyOf(...Array.from({ length: 23 }, () => line({ quantity: 'six', price: 'x' })));
    await expect(reading).rejects.toThrow(/46 mistakes:\n {2}line 2: Quantity is "six"[^]*line 11: [^]*and 26 more/);
  });

  it('tells a quotation mark that is never closed once, however long the file', async () => {
    const reading = historyOf(line(), line({ name: '"HEART' }), ...Array.from({ length: 30_000 }, () => line()));
    await expect(reading).rejects.toThrow(/has a mistake:\n {2}line 3: a quotation mark/);
  });

  it('refuses a file with other columns, and says which ones it has and should have', async () => {
    const reading = fileWith('Nr;InvoiceNo', '1;2').then((file) => read(file));
    await expect(reading).rejects.toThrow('has no column StockCode, Description');
    await expect(reading).rejects.toThrow('Its first line has, separated by semicolon: Nr, InvoiceNo.');
    await expect(reading).rejects.toThrow(`it must have: ${header.replaceAll(',', ', ')}`);
  });

  it('refuses a column that stands twice', async () => {
    const reading = fileWith(`${header},Quantity`, `${line()},7`).then((file) => read(file));
    await expect(reading).rejects.toThrow('names the column Quantity more than once');
  });

  it('refuses bytes that are not UTF-8, and says on which lines', async () => {
    const file = join(directory, 'latin1.csv');
    await writeFile(file, `${header}\n${line()}\n${line({ name: 'CAFÉ' })}\n`, 'latin1');
    await expect(read(file)).rejects.toThrow(/line 3: is not UTF-8; in Windows-1252.*CAFÉ/);
  });

  it.each([
    ['an Excel workbook (.xlsx)', [0x50, 0x4b, 3, 4, 20]],
    ['an old Excel workbook (.xls)', [0xd0, 0xcf, 0x11, 0xe0]],
    ['encoded in UTF-16', [0xff, 0xfe, 0x49, 0]],
    ['compressed (gzip)', [0x1f, 0x8b, 8, 0]],
  ])('says that a file is %s', async (what, bytes) => {
    const file = join(directory, 'other.csv');
    await writeFile(file, Buffer.from(bytes));
    await expect(read(file)).rejects.toThrow(what);
  });

  it('refuses a file that is not there, is empty or has a line too short', async () => {
    await expect(read(join(directory, 'missing.csv'))).rejects.toThrow('There is no file');
    await expect(fileWith().then((file) => read(file))).rejects.toThrow('is empty');
    const short = 'line 2: has 2 cells, but the first line names 8 columns';
    await expect(historyOf('536365,85123A')).rejects.toThrow(short);
  });

  describe('as people have it', () => {
    it.each([
      ['semicolons', ';', ''],
      ['tabs', '\t', ''],
      ['vertical bars', '|', ''],
      ['a first line sep=', ';', 'sep=;'],
    ])('is read with %s', async (_, delimiter, first) => {
      const lines = [header, line({ name: '12 inch ruler' })].map((text) => text.replaceAll(',', delimiter));
      const { products } = await read(await fileWith(...(first ? [first] : []), ...lines));
      expect(products).toEqual([{ sku: '85123A', spelled: '85123A', name: '12 inch ruler', priceMinor: 255 }]);
    });

    it.each([
      ['2,55', 255],
      ['1.234,5', 123_450],
      ['12', 1200],
    ])('is read with the amount %s, when the comma is said to be decimal', async (price, expected) => {
      const lines = [header, line({ price: 'PRICE' })].map((text) => text.replaceAll(',', ';').replace('PRICE', price));
      const { products } = await read(await fileWith(...lines), { decimalComma: true });
      expect(products[0]?.priceMinor).toBe(expected);
      const other = await fileWith(header, line({ price: '2.55' }));
      await expect(read(other, { decimalComma: true })).rejects.toThrow('such as 2,55');
    });

    it.each([
      ['1.000', 1000],
      ['6,0', 6],
      ['12', 12],
    ])('is read with the quantity %s, when the comma is said to be decimal', async (quantity, expected) => {
      const cells = line({ quantity: 'MANY', price: 'PRICE' }).replaceAll(',', ';');
      const text = cells.replace('MANY', quantity).replace('PRICE', '2,00');
      const { orders } = await read(await fileWith(header.replaceAll(',', ';'), text), { decimalComma: true });
      expect(orders[0]?.lines).toMatchObject([{ quantity: expected }]);
    });

    it('is read with rows of empty cells at its end', async () => {
      expect((await historyOf(line(), ',,,,,,,', ',,,,,,,')).totals.lines).toBe(1);
    });

    it('is read with a quotation mark inside a cell that is not quoted', async () => {
      const { products } = await historyOf(line({ name: '12" RULER' }));
      expect(products[0]?.name).toBe('12" RULER');
    });

    it('is read with cells of several lines, and mistakes behind them keep their line', async () => {
      const several = line({ name: '"two\nlines ""here"""' });
      const { products } = await historyOf(several);
      expect(products[0]?.name).toBe('two lines "here"');
      await expect(historyOf(several, line({ quantity: 'six' }))).rejects.toThrow('line 4: Quantity is "six"');
    });

    it('is read with the names of the second edition of the data set, and with those that are told', async () => {
      const second = 'Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country';
      expect((await read(await fileWith(second, line()))).orders).toHaveLength(1);
      const own = await fileWith(header.replace('InvoiceNo', 'Receipt'), line());
      await expect(read(own)).rejects.toThrow('has no column InvoiceNo');
      expect((await read(own, { columns: new Map([['InvoiceNo', 'Receipt']]) })).orders).toHaveLength(1);
      await expect(read(own, { columns: new Map([['Nr', 'Receipt']]) })).rejects.toThrow('--columns names Nr');
    });

    it.each([
      ['12/1/2010 8:26', 'M/d/yyyy H:mm', 'Europe/London', '2010-12-01T08:26:00.000Z'],
      ['2010-12-01 08:26:00', 'yyyy-MM-dd HH:mm:ss', 'America/New_York', '2010-12-01T13:26:00.000Z'],
      ['1 Jul 2010 08:26 +0200', 'd MMM yyyy HH:mm ZZZ', undefined, '2010-07-01T06:26:00.000Z'],
    ])('is read with dates such as %s', async (at, dateFormat, timeZone, expected) => {
      const { orders } = await read(await fileWith(header, line({ at })), { dateFormat, timeZone });
      expect(orders[0]?.orderedAt).toBe(expected);
    });

    it('is not guessed at: a zone must be told, and an hour that the clocks skipped is refused', async () => {
      const file = await fileWith(header, line({ at: '2010-03-28 01:30' }));
      const dateFormat = 'yyyy-MM-dd HH:mm';
      await expect(read(file, { dateFormat })).rejects.toThrow('say with --timezone');
      await expect(read(file, { dateFormat, timeZone: 'Mars/Base' })).rejects.toThrow('is no time zone');
      await expect(read(file, { dateFormat, timeZone: 'Europe/London' })).rejects.toThrow('the clocks skipped');
    });
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
