import type { ReadDate } from './dates';
import type { Mistakes } from './mistakes';
import { parseMinor } from './money';

export interface CellReaders {
  readonly mistakes: Mistakes;
  readonly readDate: (text: string) => ReadDate;
  /** Of the currency. */
  readonly decimals: number;
  readonly currency: string;
  /** Whether amounts are written as 1.234,56. */
  readonly decimalComma: boolean;
}

/** Space of any kind and length, line breaks included. */
const space = /\s+/g;
const unprintable = /\p{Cc}|\p{Cs}/u;

/** One row of a file, by the names of its format's columns. What a cell should not hold is noted as a mistake. */
export class Cells {
  constructor(
    /** Of the file, counted from 1. */
    readonly line: number,
    private readonly record: readonly string[],
    private readonly places: ReadonlyMap<string, number>,
    private readonly readers: CellReaders,
  ) {}

  get currency(): string {
    return this.readers.currency;
  }

  /** Empty for a column that the file does not have. */
  text(column: string, maxLength = 200): string {
    const place = this.places.get(column);
    const text = (place === undefined ? '' : (this.record[place] ?? '')).replace(space, ' ').trim().normalize();
    if (unprintable.test(text)) this.mistake(`${column} has a character that cannot be printed`);
    else if (text.length > maxLength) {
      this.mistake(`${column} has ${text.length} characters, but may have ${maxLength}`);
    }
    return text;
  }

  /** Of the first column that is not empty. */
  firstText(...columns: string[]): string {
    for (const column of columns) {
      const text = this.text(column);
      if (text !== '') return text;
    }
    return '';
  }

  /** A whole number, also as the spreadsheet's `6.0`; empty is 0. */
  quantity(column: string): number | undefined {
    const text = this.text(column);
    const plain = this.readers.decimalComma && text !== '' ? withPoint(text) : text;
    const [, digits] = /^([+-]?\d{1,9})(?:\.0+)?$/.exec(plain) ?? (text === '' ? ['', '0'] : []);
    if (digits === undefined) return this.mistake(`${column} is "${text}", but must be a whole number`);
    const quantity = Number(digits);
    if (quantity > 1_000_000) return this.mistake(`${column} is ${text}, but a line has at most 1,000,000 pieces`);
    return quantity;
  }

  /** Integer minor units; empty is 0. */
  price(column: string): number | 'too-fine' | undefined {
    const text = this.text(column);
    const { decimals, decimalComma } = this.readers;
    const plain = decimalComma ? withPoint(text) : text;
    const price = text === '' ? 0 : parseMinor(plain, decimals);
    if (price !== 'malformed') return price;
    const example = decimalComma ? '2,55' : '2.55 (or give --decimal-comma)';
    return this.mistake(`${column} is "${text}", but must be a decimal number such as ${example}`);
  }

  /** Integer minor units of an amount that belongs to the whole order; empty is 0. */
  amount(column: string): number | undefined {
    const amount = this.price(column);
    if (amount !== undefined && amount !== 'too-fine' && amount < 0) {
      return this.mistake(`${column} is ${this.text(column)}, but cannot be negative`);
    }
    if (amount !== 'too-fine') return amount;
    return this.mistake(`${column} is ${this.text(column)}, which is finer than the currency ${this.currency}`);
  }

  /** RFC 3339, UTC. */
  instant(column: string): string | undefined {
    const text = this.text(column);
    const read = this.readers.readDate(text);
    if ('wrong' in read) return this.mistake(`${column} is "${text}", but ${asClause(read.wrong)}`);
    // the server takes no order from the future; its clock and ours may differ a little
    if (Date.parse(read.at) > Date.now()) return this.mistake(`${column} is ${text}, which is in the future`);
    return read.at;
  }

  mistake(what: string): undefined {
    this.readers.mistakes.add(this.line, what);
  }
}

const asClause = (wrong: string) => (wrong.startsWith('must') ? wrong : `that ${wrong}`);

/** `1234.56` for `1.234,56`; empty for what is not written like that. */
function withPoint(text: string): string {
  const written = /^[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+)(?:,\d+)?$/.test(text);
  return written ? text.replaceAll('.', '').replace(',', '.') : '';
}
