import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { ApiClient } from '../../src/tools/import/api-client';
import { check } from '../../src/tools/import/check';
import type { History } from '../../src/tools/import/history';
import { readHistory } from '../../src/tools/import/read-history';

const root = join(__dirname, '../..');
/** More than an argument list can hold. */
const orders = 130_000;
/** Of these there is a second line, far from the first. */
const longer = 13_000;

jest.setTimeout(300_000);

/** Not in the order of their time. */
function* linesOfFile() {
  yield 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n';
  for (let line = 0; line < orders + longer; line++) {
    const nth = line < orders ? (line * 7919) % orders : line - orders;
    const at = new Date(Date.UTC(2020, 0, 1) + nth * 60_000).toISOString();
    yield `R${nth},SKU-${line % 500},THING,2,${at},1.25,${nth % 9000},France\n`;
  }
}

describe('a history of 130,000 orders', () => {
  let directory: string;
  let file: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'orderloom-large-'));
    file = join(directory, 'large.csv');
    await pipeline(Readable.from(linesOfFile()), createWriteStream(file));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('is read and planned in a heap of 32 MB', async () => {
    const args = ['--max-old-space-size=32', 'dist/src/tools/import.js', file, '--dry-run'];
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [...args, '--report', join(directory, 'report.csv')],
      { cwd: root },
    );
    expect(stdout).toContain('130,000 orders, 143,000 lines, 357,500.00 GBP');
  });

  describe('on a server', () => {
    let history: History;
    let server: Server;
    let api: ApiClient;

    /** Lists of what an import of the file leaves, page by page; some orders lack. */
    beforeAll(async () => {
      history = await readHistory(file, { currency: 'GBP' });
      const placed = (nth: number) => {
        const orderedAt = new Date(Date.UTC(2020, 0, 1) + nth * 60_000).toISOString();
        const lineCount = nth < longer ? 2 : 1;
        return { reference: `R${nth}`, orderedAt, id: `id-${nth}`, total: { amountMinor: lineCount * 250 }, lineCount };
      };
      const lists: Record<string, (nth: number) => object> = {
        '/v1/orders': (nth) => ({ ...placed(nth), status: nth === 77 ? 'cancelled' : 'completed' }),
        '/v1/payments': (nth) => ({ orderId: `id-${nth}`, amount: placed(nth).total }),
        '/v1/shipments': (nth) => ({ orderId: `id-${nth}` }),
      };
      server = createServer((request, response) => {
        const { pathname, searchParams } = new URL(request.url!, 'http://server');
        const from = Number(searchParams.get('after') ?? 0);
        const data = Array.from({ length: Math.min(100, orders - from) }, (_, nth) => lists[pathname]?.(from + nth));
        const page = { next: from + 100 < orders ? String(from + 100) : null };
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify(request.method === 'POST' ? { access_token: 'token' } : { data, page }));
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      api = new ApiClient({ url, email: 'staff@example.com', password: 'secret' });
    });
    afterAll(() => {
      server.closeAllConnections();
      server.close();
      history.close();
    });

    it('is compared page by page, and the one order that lacks is named', async () => {
      const { agrees, findings } = await check(api, history, { concurrency: 4, patienceMs: 0 });
      expect(agrees).toBe(false);
      const [found] = findings;
      expect(found).toMatchObject({ what: 'orders', expected: orders, found: orders - 1 });
      expect(found?.differences).toEqual([{ id: 'R77', expected: 'completed', found: 'missing' }]);
    });
  });
});
