import { parseArgs } from 'node:util';
import { Refusal } from './import/api-client';
import { ImportError } from './import/import-error';
import { assertOptions, importHistory } from './import/importer';
import { readHistory } from './import/read-history';
import { describeHistory, describeOutcome, writeReport } from './import/report';

const help = `Replays an order history through the REST API of a running Orderloom: customers, products with the
stock that is sold, and every order up to its delivery. Safe to stop and to run again, as the same user.

Usage: npm run import -- FILE.csv [options]

FILE.csv is UTF-8, comma separated, with the columns
InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
(the Online Retail data set, https://doi.org/10.24432/C5BW33, with dates in RFC 3339).

  --url URL           where the app listens (http://127.0.0.1:3000)
  --email EMAIL       staff account to import as (ADMIN_EMAIL, or admin@orderloom.local)
  --password TEXT     its password (ADMIN_PASSWORD)
  --concurrency N     orders under way at a time (8)
  --currency CODE     of the prices in the file (GBP)
  --report FILE       CSV of every line that was not imported, and why (import-report.csv)
  --dry-run           read the file, print what is in it and write the report; send nothing
  --help              this text

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
      report: { ...text, default: 'import-report.csv' },
      'dry-run': flag,
      help: { ...flag, short: 'h' },
    },
  });
  return { ...values, files: positionals };
}

async function main(args: string[]): Promise<number> {
  const { help: helpWanted, files, 'dry-run': dryRun, report, password, ...given } = readArguments(args);
  if (helpWanted) {
    console.log(help);
    return 0;
  }
  const [file] = files;
  if (file === undefined || files.length > 1) {
    throw new ImportError(
      'Say which file to import, one at a time: npm run import -- FILE.csv; --help lists the options.',
    );
  }
  const options = { ...given, file, concurrency: Number(given.concurrency) };
  assertOptions(options);
  if (dryRun) {
    const history = await readHistory(file, options.currency);
    await writeReport(report, history, []);
    console.log(`${describeHistory(history, options.currency)}\n\nNothing was sent. Line by line: ${report}`);
    return 0;
  }
  if (password === undefined) {
    throw new ImportError(
      `The password of ${options.email} is missing: set ADMIN_PASSWORD or give --password (the first start of the app printed one, unless it was told one).`,
    );
  }

  const summary = await importHistory({ ...options, password, signal: stopOnSignal(), out: process.stderr });
  await writeReport(report, summary.history, summary.failures);
  console.log(
    `\n${describeHistory(summary.history, options.currency)}\n\n${describeOutcome(summary)}\n\nLine by line: ${report}`,
  );
  if (!summary.interrupted) return summary.ok ? 0 : 1;
  console.log('Stopped before the end. It is safe to run the same command again: it goes on where it was.');
  return 130;
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
