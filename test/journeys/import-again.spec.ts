import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { importFile } from '../../src/tools/import/importer';
import type { ReadOptions } from '../../src/tools/import/read-history';
import { adminPassword, startApp, type TestApp } from '../support/app';
import { order, query } from './shop';

const header = 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country';

describe('importing more of a history that has been imported in part', () => {
  let shop: TestApp;
  let directory: string;

  beforeAll(async () => {
    shop = await startApp();
    directory = await mkdtemp(join(tmpdir(), 'orderloom-import-'));
  });
  afterAll(async () => {
    await shop.close();
    await rm(directory, { recursive: true, force: true });
  });

  const run = (...lines: string[]) => runFile([header, ...lines].join('\n'), { currency: 'GBP' });
  const runFile = async (text: string, options: ReadOptions) => {
    const file = join(directory, 'history.csv');
    await writeFile(file, text);
    const server = { url: shop.url, email: 'admin@orderloom.local', password: adminPassword };
    return importFile(file, { ...server, ...options, concurrency: 4 });
  };
  const onSale = async (sku: string) => {
    const { body } = await shop.admin.get(`/v1/products?sku=${sku}`);
    return body.data[0].available as number;
  };
  const findingOf = ({ check }: Awaited<ReturnType<typeof run>>, what: string) =>
    check!.findings.find((finding) => finding.what === what)!.differences;

  it('adds the stock of the new orders only', async () => {
    const first = 'PH1,PH-A,x,5,2020-01-01T00:00:00Z,1.00,960,France';
    expect(await run(first)).toMatchObject({ ok: true });
    expect(await run(first, 'PH2,PH-A,x,3,2020-02-01T00:00:00Z,1.00,960,France')).toMatchObject({ ok: true });
    expect(await run('PH2,PH-A,x,3,2020-02-01T00:00:00Z,1.00,960,France')).toMatchObject({ ok: true });
    expect(await onSale('PH-A')).toBe(0);
  });

  it('recognises an order whose lines stand in another order, or whose country is written otherwise', async () => {
    const lines = ['RO1,RO-A,x,5,2020-01-01T00:00:00Z,1.00,,Narnia', 'RO1,RO-B,x,1,2020-01-01T00:00:00Z,2.00,,Narnia'];
    expect(await run(...lines)).toMatchObject({ ok: true });
    const again = await run(...lines.reverse().map((line) => line.replace('Narnia', 'norway')));
    expect(again).toMatchObject({ ok: true, orders: { done: 1 } });
    expect(await onSale('RO-A')).toBe(0);
  });

  it('names an order that was imported with other lines, and leaves none of its goods on sale', async () => {
    expect(await run('OL1,OL-A,x,5,2020-01-01T00:00:00Z,1.00,,France')).toMatchObject({ ok: true });
    const changed = [
      'OL1,OL-A,x,6,2020-01-01T00:00:00Z,1.00,,France',
      'OL1,OL-B,x,2,2020-01-01T00:00:00Z,1.00,,France',
    ];
    const summary = await run(...changed);
    expect(summary).toMatchObject({ ok: false, failures: [{ what: 'order', id: 'OL1' }] });
    expect(summary.failures[0]?.reason).toContain('imported with other lines before');
    expect(findingOf(summary, 'lines')).toEqual([{ id: 'OL1', expected: '2', found: '1' }]);
    expect(await onSale('OL-A')).toBe(0);
    expect(await onSale('OL-B')).toBe(0);
  });

  it('takes back the goods of an order that came to nothing, each time that it is tried', async () => {
    const lines = [
      'CN1,CN-A,x,5,2020-01-01T00:00:00Z,1.00,,Antarctica',
      'CN2,CN-A,x,2,2020-01-01T00:00:00Z,1.00,,France',
    ];
    for (const time of ['first', 'second']) {
      const summary = await run(...lines);
      expect([time, summary]).toMatchObject([time, { ok: false, failures: [{ id: 'CN1' }], orders: { done: 1 } }]);
      expect(findingOf(summary, 'orders')).toEqual([{ id: 'CN1', expected: 'completed', found: 'missing' }]);
      expect(findingOf(summary, 'products with the right stock')).toEqual([]);
      expect(await onSale('CN-A')).toBe(0);
    }
  });

  it('names the orders and products that differ, with what was expected and found', async () => {
    const line = 'DF1,DF-A,x,5,2020-03-01T00:00:00Z,1.00,,France';
    expect(await run(line)).toMatchObject({ ok: true });
    await order(shop.admin, { reference: 'DF1', orderedAt: '2020-03-01T00:00:00Z' });
    await order(shop.admin, { reference: 'GHOST' });
    const { body } = await shop.admin.get('/v1/products?sku=DF-A');
    const adjustment = { delta: 4, reason: 'import: sold in GHOST ×4' };
    await shop.admin.post(`/v1/products/${body.data[0].id}/stock-adjustments`, adjustment);
    await shop.settled();

    const summary = await run(line);
    expect(summary.ok).toBe(false);
    expect(findingOf(summary, 'orders')).toEqual([{ id: 'DF1', expected: 'completed', found: '2 orders' }]);
    const stock = [{ id: 'DF-A', expected: '0 on sale', found: '4 on sale' }];
    expect(findingOf(summary, 'products with the right stock')).toEqual(stock);
  }, 60_000);

  it('finds the account of a customer who spells the address otherwise, and sends nobody a code', async () => {
    const { body } = await shop.admin.post('/v1/users', {
      email: 'Zoe.Martin@example.com',
      name: 'Zoë',
      invite: false,
    });
    const text = await readFile(join(__dirname, '../data/shopify-orders.csv'), 'utf8');
    expect(await runFile(text, { format: 'shopify', currency: 'EUR' })).toMatchObject({ ok: true, failures: [] });
    expect(await shop.admin.all(`/v1/orders?customerId=${body['id']}`)).not.toEqual([]);
    expect(await query(shop, 'select from users.one_time_codes')).toEqual([]);
  }, 60_000);

  it('leaves an order alone that is there, though its product has been archived since', async () => {
    const lines = (name: string) => [
      `AR1,AR-A,${name},5,2020-01-01T00:00:00Z,1.00,,France`,
      'AR1,AR-B,y,3,2020-01-01T00:00:00Z,1.00,,France',
    ];
    expect(await run(...lines('x'))).toMatchObject({ ok: true });
    const { body } = await shop.admin.get('/v1/products?sku=AR-A');
    const { headers } = await shop.admin.get(`/v1/products/${body.data[0].id}`);
    await shop.admin.delete(`/v1/products/${body.data[0].id}`, undefined, { 'if-match': headers.get('etag')! });
    const other = (await shop.admin.get('/v1/products?sku=AR-B')).body.data[0].id as string;
    await shop.admin.post(`/v1/products/${other}/stock-adjustments`, { delta: 10, reason: 'delivery from supplier' });
    expect(await run(...lines('another name'))).toMatchObject({ failures: [], orders: { done: 1 } });
    expect(await onSale('AR-B')).toBe(10);
  });

  it('adds nothing to stock that an earlier release has imported, and says why', async () => {
    const line = 'ER1,ER-A,x,5,2020-01-01T00:00:00Z,1.00,,France';
    expect(await run(line)).toMatchObject({ ok: true });
    const product = (await shop.admin.get('/v1/products?sku=ER-A')).body.data[0].id as string;
    const adjustment = { delta: 1, reason: 'import of sold goods' };
    await shop.admin.post(`/v1/products/${product}/stock-adjustments`, adjustment);
    const summary = await run(line);
    expect(summary.failures[0]?.reason).toContain('stock by the importer of an earlier release');
    expect(await onSale('ER-A')).toBe(1);
  });

  it('does not check stock that others have changed, and says so', async () => {
    const line = 'OT1,OT-A,x,5,2020-03-01T00:00:00Z,1.00,,France';
    expect(await run(line)).toMatchObject({ ok: true });
    const { body } = await shop.admin.get('/v1/products?sku=OT-A');
    const adjustment = { delta: 40, reason: 'delivery from supplier' };
    await shop.admin.post(`/v1/products/${body.data[0].id}/stock-adjustments`, adjustment);
    expect(await run(line)).toMatchObject({ ok: true, foreignProducts: ['OT-A'] });
    expect(await onSale('OT-A')).toBe(40);
  });

  it('keeps goods for an order that is paid and not sent, until a later export says that it was', async () => {
    const text = await readFile(join(__dirname, '../data/shopify-orders.csv'), 'utf8');
    const options = { format: 'shopify', currency: 'EUR' };
    const paid = async () => {
      const { body } = await shop.admin.get(`/v1/orders?reference=${encodeURIComponent('#1003')}`);
      return body.data[0];
    };
    const candle = async () => {
      const { body } = await shop.admin.get(`/v1/products?sku=${encodeURIComponent('Candle, unscented')}`);
      return (await shop.admin.get(`/v1/products/${body.data[0].id}/stock`)).body;
    };
    expect(await runFile(text, options)).toMatchObject({ ok: true, orders: { done: 17 } });
    expect(await paid()).toMatchObject({ status: 'fulfilling', paymentStatus: 'paid' });
    expect(await candle()).toMatchObject({ onHand: 3, reserved: 3 });

    const later = text.replace(/^(#1003,.*),unfulfilled,/m, '$1,fulfilled,');
    expect(await runFile(later, options)).toMatchObject({ ok: true, orders: { done: 17 } });
    expect(await paid()).toMatchObject({ status: 'completed' });
    expect(await candle()).toMatchObject({ onHand: 0, reserved: 0 });
  }, 60_000);
});
