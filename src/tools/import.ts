import { parseArgs } from 'node:util';
import { Refusal } from './import/api-client';
import { ImportError } from './import/import-error';
import { assertOptions, importHistory } from './import/importer';
import { readHistory } from './import/read-history';
import { describeHistory, describeOutcome, writeReport } from './import/report';

const help = `Replays an order history through the REST API of a running Orderloom: customers, products with the
stock that is sold, and every order up to its delivery. Safe to stop and to run again, as the same user. Exports may
overlap: what has been imported before stays as it is.

Usage: npm run import -- FILE.csv [options]

  --format NAME       where the file comes from (online-retail):
                        online-retail  the columns of the Online Retail data set, https://doi.org/10.24432/C5BW33:
                                       InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
                        shopify        Shopify's export of orders
                        woocommerce    the plug-in Advanced Order Export For WooCommerce, with its default columns
  --columns A=B,…     the file calls the column A of the format B, such as InvoiceNo=Receipt; can be repeated
  --date-format TEXT  how dates are written, such as "d/M/yyyy H:mm"
                      (RFC 3339, or what the format's product writes; letters: https://moment.github.io/luxon/#/parsing)
  --timezone ZONE     of dates without an offset, such as Europe/London
  --delimiter CHAR    between cells: one character, or tab (found out: comma, semicolon, tab, vertical bar, or "sep=;")
  --decimal-comma     amounts are written as 1.234,56
  --countries A=B,…   the file calls the country B by the name A, such as "Channel Islands=JE"; can be repeated
  --currency CODE     of the prices in the file (GBP)

  --url URL           where the app listens (http://127.0.0.1:3000)
  --email EMAIL       staff account to import as (ADMIN_EMAIL, or admin@orderloom.local)
  --password TEXT     its password (ADMIN_PASSWORD)
  --concurrency N     orders under way at a time (8)
  --report FILE       CSV of everything that was not imported as it stands, and why (import-report.csv)
  --dry-run           read the file, print what is in it and write the report; send nothing
  --help              this text

The file is UTF-8. It is checked as a whole before anything is sent; mistakes are listed with their lines.
Ends with 0 when the server holds everything that can be sold, to the last penny; else with 1.`;

function readArguments(args: string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      url: { ...text, default: 'http://127.0.0.1:3000' },
      email: { ...text, default: process.env['ADMIN_EMAIL'] || 'admin@orderloom.local' },
      password: { ...text, default: process.env['ADMIN_PASSWORD'] || undefined },
      concurrency: { ...text, default: '8' },
      currency: { ...text, default: 'GBP' },
      format: { ...text },
      columns: { ...text, multiple: true },
      'date-format': { ...text },
      timezone: { ...text },
      delimiter: { ...text },
      'decimal-comma': flag,
      countries: { ...text, multiple: true },
      report: { ...text, default: 'import-report.csv' },
      'dry-run': flag,
      help: { ...flag, short: 'h' },
    },
  });
  return { ...values, files: positionals };
}

async function main(args: string[]): Promise<number> {
  const { files, report, password, ...given } = readArguments(args);
  if (given.help) {
    console.log(help);
    return 0;
  }
  const [file] = files;
  if (file === undefined || files.length > 1) {
    throw new ImportError(
      'Say which file to import, one at a time: npm run import -- FILE.csv; --help lists the options.',
    );
  }
  const options = {
    ...given,
    concurrency: Number(given.concurrency),
    delimiter: given.delimiter === 'tab' || given.delimiter === '\\t' ? '\t' : given.delimiter,
    columns: readPairs('columns', 'InvoiceNo=Receipt,StockCode=Article', given.columns),
    countries: readPairs('countries', 'Channel Islands=JE', given.countries),
    decimalComma: given['decimal-comma'],
    dateFormat: given['date-format'],
    timeZone: given.timezone,
  };
  assertOptions(options);
  const { currency } = options;
  if (!given['dry-run'] && password === undefined) {
    throw new ImportError(
      `The password of ${options.email} is missing: set ADMIN_PASSWORD or give --password (the first start of the app printed one, unless it was told one).`,
    );
  }

  const history = await readHistory(file, options);
  try {
    if (given['dry-run'] || password === undefined) {
      await writeReport(report, history);
      console.log(`${describeHistory(history, currency)}\n\nNothing was sent. Line by line: ${report}`);
      return 0;
    }
    const summary = await importHistory(history, { ...options, password, signal: stopOnSignal(), out: process.stderr });
    await writeReport(report, history, summary.check);
    console.log(`\n${describeHistory(history, currency)}\n\n${describeOutcome(summary)}\n\nLine by line: ${report}`);
    if (!summary.interrupted) return summary.ok ? 0 : 1;
    console.log('Stopped before the end. It is safe to run the same command again: it goes on where it was.');
    return 130;
  } finally {
    history.close();
  }
}

/** `A=B,C=D`, as often as given. @throws ImportError */
function readPairs(option: string, example: string, given: readonly string[] = []): ReadonlyMap<string, string> {
  const pairs = given.flatMap((text) => text.split(',')).map((pair) => pair.split('=').map((name) => name.trim()));
  if (pairs.some((pair) => pair.length !== 2 || pair.includes(''))) {
    throw new ImportError(`--${option} takes pairs such as '${example}'.`);
  }
  return new Map(pairs as [string, string][]);
}

/** The first Ctrl-C lets finish what is in flight, the second does not. */
function stopOnSignal(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(130);
      console.error(`\n${signal}: finishing what is in flight; it is safe to run the same command again`);
      stop.abort();
    });
  }
  return stop.signal;
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: Error & { code?: unknown }) => {
    const usage = typeof error.code === 'string' && error.code.startsWith('ERR_PARSE_ARGS_');
    if (usage) console.error(`${error.message.split('. ')[0]}: --help lists the options.`);
    else console.error(error instanceof ImportError || error instanceof Refusal ? error.message : error);
    process.exit(1);
  },
);
