import { Cells } from './cells';
import { type CountryNames, countryReader, unknownCountry } from './countries';
import { openCsv } from './csv-file';
import { dateReader } from './dates';
import type { Amounts, Format, GoodsOnRow, OrderHead } from './formats/format';
import { formats } from './formats/formats';
import { onlineRetail } from './formats/online-retail';
import { wholeCharacters } from './formats/shop';
import { creditNote, History, summarise } from './history';
import { skuKey } from './keys';
import { ImportError } from './import-error';
import { Mistakes } from './mistakes';
import { decimalsOf, formatMinor } from './money';
import type { Scratch } from './scratch';
import { charges, settle } from './settle';

export interface ReadOptions {
  /** ISO 4217, of all prices in the file. */
  readonly currency: string;
  /** Name of a {@link Format}; default: `online-retail`. */
  readonly format?: string;
  /** One character; default: found out. */
  readonly delimiter?: string;
  /** What the file calls a column of the format. */
  readonly columns?: ReadonlyMap<string, string>;
  /** Pattern of Luxon, such as `M/d/yyyy H:mm`; default: that of the format. */
  readonly dateFormat?: string;
  /** IANA name, for dates without an offset. */
  readonly timeZone?: string;
  /** Whether amounts are written as 1.234,56 instead of 1234.56. */
  readonly decimalComma?: boolean;
  /** What the file calls countries that are not known by that name. */
  readonly countries?: CountryNames;
}

/** @throws ImportError */
export function formatNamed(name = onlineRetail.name): Format {
  const found = formats.find((format) => format.name === name);
  if (found) return found;
  throw new ImportError(
    `--format ${name} is not known: give one of ${formats.map((format) => format.name).join(', ')}.`,
  );
}

/** Rows that are written to the scratch file in one go. */
const batch = 20_000;
const maxNameLength = 300;

/**
 * Reads an order history and sorts it into what can be imported and what cannot. Nothing is rounded, corrected or
 * guessed: a line either becomes an order line as it stands, or is listed as dropped.
 *
 * @throws ImportError for a file that is missing, is no such history, or has mistakes: all of them, with their lines
 */
export async function readHistory(file: string, options: ReadOptions): Promise<History> {
  const format = formatNamed(options.format);
  const { currency, dateFormat, timeZone } = options;
  const readDate = dateReader({ formats: dateFormat === undefined ? format.dateFormats : [dateFormat], timeZone });
  const countryCode = countryReader(options.countries);
  const mistakes = new Mistakes(file);
  const csv = await openCsv(file, format, options, mistakes);
  const history = new History();
  try {
    const sorter = new Sorter(history, format, mistakes, countryCode);
    const { decimalComma = false } = options;
    const readers = { mistakes, readDate, decimals: decimalsOf(currency), currency, decimalComma };
    let lines = 0;
    history.scratch.begin();
    for await (const { line, record } of csv.rows()) {
      lines += 1;
      const cells = new Cells(line, record, csv.places, readers);
      const row = format.read(cells);
      if (row) sorter.add(line, row.reference, row.head, row.goods);
      if (lines % batch > 0) continue;
      history.scratch.commit();
      history.scratch.begin();
    }
    mistakes.assertNone();
    complete(history, currency);
    history.scratch.commit();
    history.totals = summarise(history.scratch, lines);
    if (![history.totals.totalMinor, history.totals.creditNotes.totalMinor].every(Number.isSafeInteger)) {
      throw new ImportError(`${file} sums up to more than can be counted exactly: split it into several files.`);
    }
    return history;
  } catch (error) {
    history.close();
    throw error;
  }
}

/** Puts each row where it belongs. */
class Sorter {
  private readonly scratch: Scratch;
  /** Of the last reference: rows of one order mostly follow each other. */
  private known: { reference: string; line: number; customer: string | null } | undefined;

  constructor(
    private readonly history: History,
    private readonly format: Format,
    private readonly mistakes: Mistakes,
    private readonly countryCode: (country: string) => string | undefined,
  ) {
    this.scratch = history.scratch;
  }

  add(line: number, reference: string, head: OrderHead | undefined, goods: GoodsOnRow | undefined): void {
    if (this.known?.reference !== reference) {
      this.known = this.scratch.get('select reference, line, customer from orders where reference = ?', reference);
    }
    if (this.known && head && this.format.headOnce) {
      this.mistakes.add(
        line,
        `order ${reference} begins a second time, after line ${this.known.line}: remove one of the two`,
      );
    } else if (this.known && head && (head.customer?.id ?? null) !== this.known.customer) {
      this.mistakes.add(line, `order ${reference} has another customer here than in line ${this.known.line}`);
    } else if (!this.known && head) {
      this.open(line, reference, head);
    } else if (!this.known) {
      this.mistakes.add(
        line,
        `order ${reference} begins in the middle: the row with its total is missing; export whole orders`,
      );
    }
    if (goods && this.known) this.addGoods(line, reference, goods);
  }

  private open(line: number, reference: string, head: OrderHead): void {
    const { orderedAt, customer, address, fate, amounts } = head;
    this.known = { reference, line, customer: customer?.id ?? null };
    const target = 'target' in fate ? fate.target : null;
    this.scratch.run(
      `insert into orders (reference, line, at, customer, address, country_code, target, left_out, total_minor,
         shipping_minor, taxes_minor, discount_minor, refunded_minor) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[reference, line, orderedAt, customer?.id ?? null, JSON.stringify(address)],
      ...[this.countryCode(address.country) ?? unknownCountry, target, 'leftOut' in fate ? fate.leftOut : null],
      ...[amounts?.total ?? null, amounts?.shipping ?? null, amounts?.taxes ?? null],
      ...[amounts?.discount ?? null, amounts?.refunded ?? null],
    );
    if (!customer || !target) return;
    this.scratch.run(
      'insert or ignore into customers (id, email, name) values (?, ?, ?)',
      ...[customer.id, customer.email ?? null, customer.name],
    );
  }

  private addGoods(line: number, reference: string, goods: GoodsOnRow): void {
    const { sku: spelled, name, quantity, unitPriceMinor, unitPrice } = goods;
    const sku = skuKey(spelled);
    const reason = this.flawOf(sku, quantity, unitPriceMinor);
    if (reason !== undefined || unitPriceMinor === 'too-fine') {
      const remark = { line, reference, sku: spelled, quantity, unitPrice };
      const minor = unitPriceMinor === 'too-fine' ? null : quantity * unitPriceMinor;
      this.history.remark({ ...remark, reason: reason ?? 'price finer than the currency' }, 'dropped', minor);
      return;
    }
    this.scratch.run(
      'insert into lines (reference, line, sku, quantity, price_minor) values (?, ?, ?, ?, ?)',
      ...[reference, line, sku, quantity, unitPriceMinor],
    );
    this.scratch.run('insert or ignore into spellings (sku, spelled) values (?, ?)', sku, spelled);
    if (name !== '') this.scratch.run('insert or ignore into names (sku, name) values (?, ?)', sku, name);
  }

  /** Why a line becomes no order line. Whether it is a return is said by its sign, whatever its number looks like. */
  private flawOf(sku: string, quantity: number, price: number | 'too-fine'): string | undefined {
    if (quantity < 0) return price === 'too-fine' || price > 0 ? creditNote : 'negative quantity (write-off)';
    if (sku === '') return 'no stock code';
    if (quantity === 0) return 'no quantity';
    if (price === 'too-fine') return 'price finer than the currency';
    if (price < 0) return 'negative price';
    return price === 0 && !this.format.freeGoods ? 'no price' : undefined;
  }
}

/** What can only be said when all lines are known. */
function complete(history: History, currency: string): void {
  const { scratch } = history;
  scratch.run(
    'delete from lines where reference in (select reference from orders where left_out is not null or target is null)',
  );
  scratch.run('create index lines_by_order on lines (reference)');
  settleAll(history, currency);
  scratch.run(
    `update orders as o set (line_count, sum_minor) = (
       select count(*), coalesce(sum(quantity * price_minor), 0) from lines l where l.reference = o.reference)`,
  );
  // what the server takes in one order
  scratch.run(
    `update orders set left_out = 'more than 1,000 lines', total_minor = sum_minor, line_count = 0, sum_minor = 0
     where line_count > 1000`,
  );
  scratch.run('delete from lines where reference in (select reference from orders where left_out is not null)');
  scratch.run('create index lines_by_sku on lines (sku, reference)');
  scratch.run('create index orders_by_time on orders (at, reference)');
  scratch.run('create index orders_by_customer on orders (customer)');
  scratch.run(
    `delete from customers as c where not exists (
       select 1 from orders o where o.customer = c.id and o.line_count > 0)`,
  );
  // the price of the row with the least id: SQLite takes the other columns from there
  scratch.run(
    `insert into products (sku, spelled, name, price_minor)
     select l.sku, coalesce(s.spelled, l.sku), coalesce(n.name, s.spelled, l.sku), l.price_minor from (
       select sku, min(id), price_minor from lines group by sku) l
       left join names n on n.sku = l.sku left join spellings s on s.sku = l.sku`,
  );
  shortenNames(history);
  explainRest(history, currency);
}

/** Makes the lines of orders come to what was paid for them. */
function settleAll(history: History, currency: string): void {
  const { scratch } = history;
  for (const { sku, name } of Object.values(charges)) {
    scratch.run('insert or ignore into names (sku, name) values (?, ?)', sku, name);
  }
  const orders = scratch.pages<Amounts & { reference: string; line: number }>(
    `select reference, line, total_minor as total, shipping_minor as shipping, taxes_minor as taxes,
       discount_minor as discount, refunded_minor as refunded from orders
     where total_minor is not null and left_out is null and reference > ? order by reference limit ?`,
    [''],
    ({ reference }) => [reference],
  );
  for (const { reference, line, ...amounts } of orders) {
    const lines = history.linesOf(reference);
    if (lines.length === 0) continue;
    const settled = settle(lines, amounts);
    scratch.run('delete from lines where reference = ?', reference);
    for (const { sku, quantity, unitPriceMinor } of settled.lines) {
      scratch.run(
        'insert into lines (reference, line, sku, quantity, price_minor) values (?, ?, ?, ?, ?)',
        ...[reference, line, sku, quantity, unitPriceMinor],
      );
    }
    const show = (minor: number) => formatMinor(minor, currency);
    if (amounts.refunded > 0) {
      const reason = `${show(amounts.refunded)} of ${show(amounts.total)} were refunded: imported with the rest`;
      history.remark({ line, reference, reason });
    }
    if (settled.unexplainedMinor !== 0) {
      const reason = `its lines, shipping, taxes and discount differ from its total by ${show(settled.unexplainedMinor)}: imported with its total`;
      history.remark({ line, reference, reason });
    }
  }
}

function shortenNames(history: History): void {
  const long = history.scratch.all<{ sku: string; name: string }>(
    'select sku, name from products where length(name) > ?',
    maxNameLength / 2,
  );
  for (const { sku, name } of long) {
    if (name.length <= maxNameLength) continue;
    history.scratch.run('update products set name = ? where sku = ?', wholeCharacters(name, maxNameLength), sku);
    history.remark({ sku, reason: `its name has ${name.length} characters: cut to ${maxNameLength}` });
  }
}

function explainRest(history: History, currency: string): void {
  const { scratch } = history;
  const rest = scratch.pages<{ reference: string; line: number; reason: string | null; total: number | null }>(
    `select reference, line, left_out as reason, total_minor as total from orders
     where line_count = 0 and reference > ? order by reference limit ?`,
    [''],
    ({ reference }) => [reference],
  );
  for (const { reference, line, reason, total } of rest) {
    const amount = total === null ? '' : ` (${formatMinor(total, currency)})`;
    history.remark({
      line,
      reference,
      reason: reason === null ? 'order without a sellable line' : `${reason}${amount}: order not imported`,
    });
  }
  scratch.run(
    `insert into remarks (line, reference, reason, kind)
     select line, reference, 'the country "' || json_extract(address, '$.country') || '" is not known: imported as ${unknownCountry}', 'note'
     from orders where line_count > 0 and country_code = ? and json_extract(address, '$.country') <> ''`,
    unknownCountry,
  );
}
