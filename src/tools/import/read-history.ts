import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { parse } from 'csv-parse';
import { ImportError } from './import-error';
import { decimalsOf, parseMinor } from './money';

/** What the file's first line must name, in any order; further columns are ignored. */
export const columns = [
  'InvoiceNo',
  'StockCode',
  'Description',
  'Quantity',
  'InvoiceDate',
  'UnitPrice',
  'CustomerID',
  'Country',
] as const;

type Row = Readonly<Record<(typeof columns)[number], string>>;

/** One line of an invoice; the same sku can stand on it twice, at different prices. */
export interface SoldLine {
  readonly sku: string;
  readonly quantity: number;
  readonly unitPriceMinor: number;
}

export interface Invoice {
  readonly invoiceNo: string;
  /** RFC 3339, UTC. */
  readonly orderedAt: string;
  /** None: a guest. */
  readonly customerId?: string;
  readonly country: string;
  readonly lines: readonly SoldLine[];
}

/** In integer minor units. */
export function totalOf({ lines }: Invoice): number {
  return lines.reduce((total, { quantity, unitPriceMinor }) => total + quantity * unitPriceMinor, 0);
}

/** A stock code that is sold at least once. Codes differ by case: 85123a is not 85123A. */
export interface Goods {
  readonly sku: string;
  /** The first description that is not empty. */
  readonly name: string;
  /** The first price; the lines keep their own. */
  readonly priceMinor: number;
  /** How many all orders of the file take together. */
  readonly sold: number;
  /** Of these sales: equal for every file with the same ones, whatever else is in it. */
  readonly salesHash: string;
}

export type DropReason =
  | 'no stock code'
  | 'no quantity'
  | 'negative quantity (write-off)'
  | 'no price'
  | 'negative price'
  | 'price finer than the currency'
  | 'credit note';

/** A line of the file that becomes no order line, and why. */
export interface DroppedLine {
  /** Of the file, counted from 1. */
  readonly line: number;
  readonly invoiceNo: string;
  readonly stockCode: string;
  readonly quantity: string;
  readonly unitPrice: string;
  readonly reason: DropReason;
}

export interface History {
  /** Lines of the file, without the header. */
  readonly lineCount: number;
  readonly invoiceCount: number;
  /** What can be sold, in the order in which it was ordered. */
  readonly orders: readonly Invoice[];
  readonly orderLineCount: number;
  readonly totalMinor: number;
  readonly products: readonly Goods[];
  /** Ids of the customers of these orders. */
  readonly customers: readonly string[];
  readonly dropped: readonly DroppedLine[];
  /** Invoices whose number begins with C; `totalMinor` is negative. */
  readonly creditNotes: { readonly invoiceNos: readonly string[]; readonly totalMinor: number };
  /** Numbers of the other invoices of which no line is left. */
  readonly unsellable: readonly string[];
}

interface OpenInvoice extends Omit<Invoice, 'lines'> {
  readonly firstLine: number;
  readonly lines: SoldLine[];
}

interface OpenGoods extends Omit<Goods, 'salesHash'> {
  name: string;
  sold: number;
  readonly sales: Hash;
}

/**
 * Reads an order history and sorts it into what can be sold and what cannot. Nothing is rounded, corrected or guessed:
 * a line either becomes an order line as it stands, or is listed as dropped.
 *
 * @throws ImportError for a file that is missing, is no such history or has a line that makes no sense
 */
export async function readHistory(file: string, currency: string): Promise<History> {
  const decimals = decimalsOf(currency);
  const invoices = new Map<string, OpenInvoice>();
  const products = new Map<string, OpenGoods>();
  const dropped: DroppedLine[] = [];
  const creditNotes = new Set<string>();
  let creditMinor = 0;
  let lineCount = 0;

  for await (const { line, row } of rowsOf(file)) {
    lineCount += 1;
    const { InvoiceNo: invoiceNo, StockCode: sku, UnitPrice, Quantity } = row;
    const bad = (what: string) =>
      new ImportError(
        `${file}, line ${line}: ${what}; correct the line and run the import again, nothing has been sent.`,
      );
    if (!invoiceNo) throw bad('InvoiceNo is empty');
    if (!/^[+-]?\d{0,9}$/.test(Quantity)) throw bad(`Quantity is "${Quantity}", but must be a whole number`);
    const quantity = Number(Quantity);
    const price = UnitPrice === '' ? 0 : parseMinor(UnitPrice, decimals);
    if (price === 'malformed') throw bad(`UnitPrice is "${UnitPrice}", but must be a decimal number such as 2.55`);

    const isCreditNote = invoiceNo.startsWith('C');
    if (isCreditNote) {
      creditNotes.add(invoiceNo);
      if (price !== 'too-fine') creditMinor += quantity * price;
    } else {
      const invoice = invoices.get(invoiceNo) ?? openInvoice(row, line, bad);
      invoices.set(invoiceNo, invoice);
      if ((row.CustomerID || undefined) !== invoice.customerId) {
        throw bad(`invoice ${invoiceNo} has another CustomerID here than in line ${invoice.firstLine}`);
      }
    }

    const reason = isCreditNote ? 'credit note' : flawOf(sku, quantity, price);
    if (reason !== undefined || price === 'too-fine') {
      const finding = reason ?? 'price finer than the currency';
      dropped.push({ line, invoiceNo, stockCode: sku, quantity: Quantity, unitPrice: UnitPrice, reason: finding });
      continue;
    }
    invoices.get(invoiceNo)!.lines.push({ sku, quantity, unitPriceMinor: price });
    const goods = products.get(sku) ?? { sku, name: '', priceMinor: price, sold: 0, sales: createHash('sha256') };
    products.set(sku, goods);
    goods.name ||= row.Description.slice(0, 300);
    goods.sold += quantity;
  }

  const orders = [...invoices.values()].filter((invoice) => invoice.lines.length > 0).sort(byTime);
  let orderLineCount = 0;
  let totalMinor = 0;
  for (const { invoiceNo, lines } of orders) {
    orderLineCount += lines.length;
    for (const { sku, quantity, unitPriceMinor } of lines) {
      totalMinor += quantity * unitPriceMinor;
      products.get(sku)!.sales.update(`${invoiceNo} ${quantity}\n`);
    }
  }
  if (![totalMinor, creditMinor].every(Number.isSafeInteger)) {
    throw new ImportError(`${file} sums up to more than can be counted exactly: split it into several files.`);
  }
  return {
    lineCount,
    invoiceCount: invoices.size + creditNotes.size,
    orders,
    orderLineCount,
    totalMinor,
    products: [...products.values()].map(({ sales, ...goods }) => {
      return { ...goods, name: goods.name || goods.sku, salesHash: sales.digest('hex').slice(0, 16) };
    }),
    customers: [...new Set(orders.flatMap(({ customerId }) => customerId ?? []))],
    dropped,
    creditNotes: { invoiceNos: [...creditNotes], totalMinor: creditMinor },
    unsellable: [...invoices.values()].filter(({ lines }) => lines.length === 0).map(({ invoiceNo }) => invoiceNo),
  };
}

function flawOf(sku: string, quantity: number, price: number | 'too-fine'): DropReason | undefined {
  if (sku === '') return 'no stock code';
  if (quantity < 0) return 'negative quantity (write-off)';
  if (quantity === 0) return 'no quantity';
  if (price === 'too-fine') return 'price finer than the currency';
  if (price < 0) return 'negative price';
  return price === 0 ? 'no price' : undefined;
}

function openInvoice(row: Row, line: number, bad: (what: string) => ImportError): OpenInvoice {
  const { InvoiceNo: invoiceNo, InvoiceDate, CustomerID, Country: country } = row;
  const at = new Date(InvoiceDate);
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/.test(InvoiceDate) || Number.isNaN(at.valueOf())) {
    throw bad(`InvoiceDate is "${InvoiceDate}", but must be RFC 3339, such as 2010-12-01T08:26:00Z`);
  }
  if (!/^\d{0,40}$/.test(CustomerID)) throw bad(`CustomerID is "${CustomerID}", but must be a whole number`);
  return {
    invoiceNo,
    orderedAt: at.toISOString(),
    customerId: CustomerID || undefined,
    country,
    firstLine: line,
    lines: [],
  };
}

function byTime(a: Invoice, b: Invoice): number {
  if (a.orderedAt !== b.orderedAt) return a.orderedAt < b.orderedAt ? -1 : 1;
  return a.invoiceNo < b.invoiceNo ? -1 : 1;
}

async function* rowsOf(file: string): AsyncGenerator<{ line: number; row: Row }> {
  const input = createReadStream(file);
  const records = parse({ bom: true, trim: true, skip_empty_lines: true, info: true });
  input.on('error', (error) => records.destroy(error)).pipe(records);
  let places: Map<string, number> | undefined;
  try {
    for await (const { record, info } of records as AsyncIterable<{ record: string[]; info: { lines: number } }>) {
      if (places) {
        const row = Object.fromEntries(columns.map((name) => [name, record[places!.get(name)!] ?? '']));
        yield { line: info.lines, row: row as Row };
        continue;
      }
      places = new Map(record.map((name, nth) => [name, nth]));
      const missing = columns.filter((name) => !places!.has(name));
      if (missing.length > 0) {
        throw new ImportError(
          `${file} has no column ${missing.join(', ')}: its first line must be ${columns.join(',')} (comma separated, UTF-8).`,
        );
      }
    }
  } catch (error) {
    throw readable(file, error);
  } finally {
    input.destroy();
  }
  if (!places) throw new ImportError(`${file} is empty: its first line must be ${columns.join(',')}.`);
}

function readable(file: string, error: unknown): unknown {
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return new ImportError(`There is no file ${file}: check the path.`);
  if (code === 'EISDIR') return new ImportError(`${file} is a directory: give the CSV file in it.`);
  if (code === 'EACCES') return new ImportError(`${file} cannot be read: you lack the permission.`);
  if (code.startsWith('CSV_'))
    return new ImportError(`${file} is not the CSV that was expected: ${message}; correct it and run again.`);
  return error;
}
