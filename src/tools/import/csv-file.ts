import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { type CsvError, parse } from 'csv-parse';
import { parse as parseNow } from 'csv-parse/sync';
import type { Format } from './formats/format';
import { ImportError } from './import-error';
import { Mistakes } from './mistakes';

export interface CsvOptions {
  /** One character; none: the one that makes sense of the header. */
  readonly delimiter?: string;
  /** What the file calls a column, by the name that the format has for it. */
  readonly columns?: ReadonlyMap<string, string>;
}

export interface CsvFile {
  /** Where the format's columns stand in a record, by their names there. */
  readonly places: ReadonlyMap<string, number>;
  /** Cells as they stand between the delimiters, with the line on which they begin. */
  rows(): AsyncGenerator<{ line: number; record: string[] }>;
}

const delimiters = [',', ';', '\t', '|'];
const namesOfDelimiters: Readonly<Record<string, string>> = {
  ',': 'comma',
  ';': 'semicolon',
  '\t': 'tab',
  '|': 'vertical bar',
};
const headBytes = 65_536;
/** Longer records come from a quotation mark that is never closed. */
const maxRecordBytes = 1_000_000;

const csvOptions = {
  ltrim: true,
  skip_empty_lines: true,
  // spreadsheets end with rows of empty cells
  skip_records_with_empty_values: true,
  relax_quotes: true,
  relax_column_count: true,
} as const;

/**
 * Finds out how a file is written: its delimiter, also by Excel's first line `sep=;`, and where the columns are.
 *
 * @throws ImportError for what is no such file; says what was found and what was expected
 */
export async function openCsv(file: string, format: Format, options: CsvOptions, mistakes: Mistakes): Promise<CsvFile> {
  const head = await readHead(file);
  const [separator, said] = /^sep=(.)\r?\n/i.exec(head) ?? [];
  const fromLine = separator === undefined ? 1 : 2;
  const delimiter = options.delimiter ?? said;
  const names = namesOfColumns(format, options.columns);

  const readings = (delimiter === undefined ? delimiters : [delimiter]).map((each) => {
    const header = headerOf(head, each, fromLine);
    return { delimiter: each, header, ...locate(header, names) };
  });
  const best = readings.reduce((a, b) => (b.places.size > a.places.size ? b : a));
  if (best.header.length === 0) {
    throw new ImportError(`${file} is empty: its first line must name the columns ${[...names.keys()].join(', ')}.`);
  }
  const missing = [...names.keys()].filter((name) => !best.places.has(name) && !format.optional.includes(name));
  if (missing.length > 0) {
    throw new ImportError(
      `${file} has no column ${missing.join(', ')}. Its first line has, separated by ${describe(best.delimiter)}: ${best.header.join(', ')}. ` +
        `For --format ${format.name} it must have: ${required(format, names).join(', ')}. ` +
        `If a column has another name, say so with --columns, such as --columns '${missing[0]}=NAME'; ` +
        'if the cells are separated by something else, give --delimiter.',
    );
  }
  if (best.twice.length > 0) {
    throw new ImportError(
      `${file} names the column ${best.twice.join(', ')} more than once: rename or remove all but one.`,
    );
  }
  const rows = () => rowsOf(file, best.delimiter, fromLine, best.header.length, mistakes);
  return { places: best.places, rows };
}

/** For each column the names to look for, the best first. @throws ImportError for columns that the format does not have */
function namesOfColumns(
  format: Format,
  given: ReadonlyMap<string, string> = new Map(),
): Map<string, readonly string[]> {
  const known = Object.keys(format.columns);
  const unknown = [...given.keys()].filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new ImportError(
      `--columns names ${unknown.join(', ')}, but --format ${format.name} has the columns ${known.join(', ')}.`,
    );
  }
  return new Map(
    Object.entries(format.columns).map(([name, others]) => {
      const renamed = given.get(name);
      return [name, renamed === undefined ? [name, ...others] : [renamed]];
    }),
  );
}

function locate(header: readonly string[], names: ReadonlyMap<string, readonly string[]>) {
  const plain = header.map(plainName);
  const places = new Map<string, number>();
  const twice: string[] = [];
  for (const [column, candidates] of names) {
    const found = candidates.map(plainName).find((name) => plain.includes(name));
    if (found === undefined) continue;
    places.set(column, plain.indexOf(found));
    if (plain.indexOf(found) !== plain.lastIndexOf(found)) twice.push(header[plain.indexOf(found)]!);
  }
  return { places, twice };
}

/** `Customer ID` and `customer_id` are `CustomerID`. */
const plainName = (name: string) => name.normalize().toLowerCase().replace(/[\s_]/g, '');

function required(format: Format, names: ReadonlyMap<string, readonly string[]>): string[] {
  return [...names.keys()].filter((name) => !format.optional.includes(name));
}

const describe = (delimiter: string) => namesOfDelimiters[delimiter] ?? `"${delimiter}"`;

function headerOf(head: string, delimiter: string, fromLine: number): string[] {
  try {
    const [header = []] = parseNow(head, { ...csvOptions, delimiter, from_line: fromLine, to: 1 });
    return header;
  } catch {
    return []; // quotation marks that make no sense with this delimiter
  }
}

/** @throws ImportError for a file that cannot be read or is known to be something else than CSV */
async function readHead(file: string): Promise<string> {
  let bytes: Buffer;
  try {
    const handle = await open(file);
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(headBytes), 0, headBytes, 0);
      bytes = buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw readable(file, error);
  }
  const starts = (...with_: number[]) => with_.every((byte, nth) => bytes[nth] === byte);
  const save = 'open it in the program that it comes from and save it as "CSV UTF-8"';
  if (starts(0x50, 0x4b, 3, 4))
    throw new ImportError(`${file} is an Excel workbook (.xlsx) or another ZIP file: ${save}.`);
  if (starts(0xd0, 0xcf, 0x11, 0xe0)) throw new ImportError(`${file} is an old Excel workbook (.xls): ${save}.`);
  if (starts(0x1f, 0x8b)) throw new ImportError(`${file} is compressed (gzip): unpack it first.`);
  if (starts(0xff, 0xfe) || starts(0xfe, 0xff))
    throw new ImportError(`${file} is encoded in UTF-16, not UTF-8: ${save}.`);
  return new TextDecoder().decode(bytes);
}

interface CsvRecord {
  readonly record: string[];
  readonly info: { readonly lines: number };
  /** As it stands in the file. */
  readonly raw: string;
}

/** `12" RULER` is taken as it stands, but `"12" RULER"` could mean more than one thing. */
function isHalfQuoted(cell: string, raw: string): boolean {
  return cell.startsWith('"') && !raw.includes(`"${cell.replaceAll('"', '""')}"`);
}

async function* rowsOf(file: string, delimiter: string, fromLine: number, width: number, mistakes: Mistakes) {
  let lastLine = 0;
  let skippedAfter: number | undefined;
  const records = parse({
    ...csvOptions,
    delimiter,
    from_line: fromLine,
    info: true,
    raw: true,
    max_record_size: maxRecordBytes,
    skip_records_with_error: true,
    // called before the record is given out: a mistake behind it is told by its line
    on_record: (record, { lines }) => {
      lastLine = lines;
      return record;
    },
    on_skip: (error: CsvError | undefined) => {
      if (!error || lastLine === skippedAfter) return;
      skippedAfter = lastLine;
      mistakes.add(lastLine + 1, describeCsvError(error));
    },
  });
  const input = Readable.from(decoded(file, mistakes));
  input.on('error', (error) => records.destroy(error)).pipe(records);
  let header = true;
  try {
    for await (const { record, info, raw } of records as AsyncIterable<CsvRecord>) {
      if (header) {
        header = false;
        continue;
      }
      const line = info.lines - record.reduce((sum, cell) => sum + (cell.match(/\r\n|\r|\n/g)?.length ?? 0), 0);
      const cell = record.find((each) => isHalfQuoted(each, raw));
      if (cell !== undefined) {
        mistakes.add(line, `a cell is ${cell.slice(0, 60)}: within quotation marks, write a quotation mark twice ("")`);
      } else if (record.length !== width) {
        mistakes.add(line, `has ${record.length} cells, but the first line names ${width} columns`);
      } else yield { line, record };
    }
  } catch (error) {
    throw readable(file, error);
  } finally {
    input.destroy();
  }
}

/** The text of a file in UTF-8. Bytes that are not are noted as mistakes, and end it. */
async function* decoded(file: string, mistakes: Mistakes): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  try {
    for await (const bytes of createReadStream(file) as AsyncIterable<Buffer>) {
      const text = decoder.decode(bytes, { stream: true });
      if (text !== '') yield text;
    }
    decoder.decode();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_ENCODING_INVALID_ENCODED_DATA') throw error;
    await noteWrongBytes(file, mistakes);
    mistakes.assertNone();
  }
}

async function noteWrongBytes(file: string, mistakes: Mistakes): Promise<void> {
  let line = 0;
  for await (const text of createInterface({ input: createReadStream(file, 'latin1'), crlfDelay: Infinity })) {
    line += 1;
    if (isUtf8(Buffer.from(text, 'latin1'))) continue;
    const shown = new TextDecoder('windows-1252').decode(Buffer.from(text, 'latin1')).slice(0, 60);
    mistakes.add(line, `is not UTF-8; in Windows-1252, which Excel writes, it begins with "${shown}"`);
  }
}

function describeCsvError({ code, message }: CsvError): string {
  switch (code) {
    case 'CSV_QUOTE_NOT_CLOSED':
    case 'CSV_MAX_RECORD_SIZE':
      return 'a quotation mark that opens a cell here or further on is never closed';
    default:
      return message;
  }
}

function readable(file: string, error: unknown): unknown {
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return new ImportError(`There is no file ${file}: check the path.`);
  if (code === 'EISDIR') return new ImportError(`${file} is a directory: give the CSV file in it.`);
  if (code === 'EACCES') return new ImportError(`${file} cannot be read: you lack the permission.`);
  if (code === 'CSV_MAX_RECORD_SIZE') {
    return new ImportError(
      `${file} has a record of more than ${maxRecordBytes} bytes: a quotation mark is not closed; correct it and run the import again.`,
    );
  }
  if (code.startsWith('CSV_')) return new ImportError(`${file} cannot be read as CSV: ${message}.`);
  return error;
}
