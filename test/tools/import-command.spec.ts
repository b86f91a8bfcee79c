import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(__dirname, '../..');
const header = 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country';
const line = '1,A,x,1,12/1/2010 8:26,1.00,,France';

/** The command as `npm run import` starts it. */
describe('the import command', () => {
  let directory: string;
  let temporary: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'orderloom-command-'));
    temporary = await mkdtemp(join(directory, 'tmp-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  const run = async (args: string[], text = `${header}\n${line}\n`, encoding: BufferEncoding = 'utf8') => {
    const file = join(directory, 'orders.csv');
    await writeFile(file, text, encoding);
    const given = ['dist/src/tools/import.js', ...args, '--report', join(directory, 'report.csv')];
    return new Promise<{ code: unknown; out: string }>((resolve) => {
      execFile(
        process.execPath,
        given.map((each) => (each === 'FILE' ? file : each)),
        { cwd: root, env: { PATH: process.env['PATH'], TMPDIR: temporary } },
        (error, stdout, stderr) => resolve({ code: error ? error.code : 0, out: stdout + stderr }),
      );
    });
  };

  it.each([
    ['--format amazon', 'give one of online-retail, shopify, woocommerce'],
    ['--format woocommerce', 'say with --timezone'],
    ['--columns InvoiceNo', "takes pairs such as 'InvoiceNo=Receipt"],
    ['--columns Nr=Receipt', '--columns names Nr'],
    ['--countries Narnia=NA1', 'NA1 is no country'],
    ['--date-format d/M/yyyy', 'say with --timezone'],
    ['--timezone Atlantis', 'is no time zone'],
    ['--delimiter ;;', 'takes one character'],
    ['--currency XXQ', 'is no currency'],
    ['--concurrency 0', 'takes a whole number from 1 to 256'],
    ['--colour red', "Unknown option '--colour'"],
    ['', 'InvoiceDate is "12/1/2010 8:26", but must be RFC 3339'],
  ])('refuses %j with a sentence, and ends with 1', async (options, sentence) => {
    const { code, out } = await run(['FILE', '--dry-run', ...options.split(' ').filter(Boolean)]);
    expect(out).toContain(sentence);
    expect(out).not.toMatch(/^\s+at /m);
    expect(code).toBe(1);
  });

  it('refuses bytes of another encoding, and ends with 1', async () => {
    const { code, out } = await run(['FILE', '--dry-run'], `${header}\n${line.replace('x', 'é')}\n`, 'latin1');
    expect(out).toContain('line 2: is not UTF-8');
    expect(code).toBe(1);
  });

  it('takes every way of writing a file by its options, and leaves no temporary file', async () => {
    const text = `${header.replace('InvoiceNo', 'Receipt')}\n${line}\n`.replaceAll(',', '\t');
    const options = ['--columns', 'InvoiceNo=Receipt', '--date-format', 'M/d/yyyy H:mm', '--timezone', 'Europe/London'];
    const { code, out } = await run(['FILE', '--dry-run', '--delimiter', 'tab', ...options], text);
    expect(out).toContain('1 order, 1 line, 1.00 GBP');
    expect(code).toBe(0);
    expect(await readdir(temporary)).toEqual([]);
  });

  it('explains all of its options', async () => {
    const { code, out } = await run(['--help']);
    const options = [
      'format',
      'columns',
      'date-format',
      'timezone',
      'delimiter',
      'decimal-comma',
      'countries',
      'currency',
    ];
    for (const option of options) {
      expect(out).toContain(`  --${option}`);
    }
    expect(code).toBe(0);
  });
});
