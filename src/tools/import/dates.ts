import { DateTime, IANAZone } from 'luxon';
import { ImportError } from './import-error';

const rfc3339 = /^\d{4}-\d\d-\d\d[Tt](?:[01]\d|2[0-3]):\d\d(?::\d\d(?:\.\d+)?)?(?:[Zz]|[+-]\d\d:\d\d)$/;

type Parser = ReturnType<typeof DateTime.buildFormatParser> & { readonly invalidReason?: string | null };

/** An instant as RFC 3339 in UTC, or what is wrong with the text. */
export type ReadDate = { readonly at: string } | { readonly wrong: string };

export interface DateOptions {
  /** Patterns of Luxon, such as `M/d/yyyy H:mm`, tried in order; none: RFC 3339. */
  readonly formats: readonly string[];
  /** IANA name of the zone in which dates without an offset are meant. */
  readonly timeZone?: string;
}

/** @throws ImportError for options that cannot be used */
export function dateReader({ formats, timeZone }: DateOptions): (text: string) => ReadDate {
  if (timeZone !== undefined && !IANAZone.isValidZone(timeZone)) {
    throw new ImportError(`--timezone ${timeZone} is no time zone: give one such as Europe/London or UTC.`);
  }
  const parsers = formats.map((format) => {
    const parser: Parser = DateTime.buildFormatParser(format, { locale: 'en' });
    if (parser.invalidReason) {
      throw new ImportError(`--date-format "${format}" cannot be used: ${parser.invalidReason}.`);
    }
    if (timeZone === undefined && !/Z|z/.test(format.replace(/'[^']*'/g, ''))) {
      throw new ImportError(
        `Dates written as "${format}" have no time zone: say with --timezone which one is meant, such as Europe/London.`,
      );
    }
    return parser;
  });
  // the lines of an order follow each other
  let last: { text: string; result: ReadDate } | undefined;
  return (text) => {
    if (last?.text !== text) last = { text, result: parsers.length > 0 ? read(text) : readRfc3339(text) };
    return last.result;
  };

  function read(text: string): ReadDate {
    let wrong: string | null = null;
    for (const parser of parsers) {
      const date = DateTime.fromFormatParser(text, parser, { zone: timeZone ?? 'utc', locale: 'en', setZone: true });
      if (date.isValid) {
        if (skipped(text, parser, date)) return { wrong: `is an hour that the clocks skipped in ${timeZone}` };
        return { at: date.toUTC().toISO() };
      }
      if (date.invalidReason !== 'unparsable') wrong = date.invalidExplanation;
    }
    if (wrong) return { wrong: `is no date: ${wrong}` };
    return { wrong: `must be written as ${formats.map((format) => `"${format}"`).join(' or ')} (--date-format)` };
  }

  function readRfc3339(text: string): ReadDate {
    if (!rfc3339.test(text)) {
      return {
        wrong:
          'must be RFC 3339, such as 2010-12-01T08:26:00Z; for other dates, say how they are written, such as --date-format "d/M/yyyy H:mm" --timezone Europe/London',
      };
    }
    const date = DateTime.fromISO(text, { zone: 'utc' });
    return date.isValid ? { at: date.toISO() } : { wrong: `is no date: ${date.invalidExplanation}` };
  }

  /** Luxon moves a local time that the zone does not have, such as 01:30 when summer time begins at 01:00. */
  function skipped(text: string, parser: Parser, date: DateTime): boolean {
    const asWritten = DateTime.fromFormatParser(text, parser, { zone: 'utc', locale: 'en', setZone: true });
    return asWritten.hour !== date.hour || asWritten.minute !== date.minute;
  }
}
