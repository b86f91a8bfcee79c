import { DataSource } from 'typeorm';
import { ProductsSkuKeys1790000000110 } from '../../migrations/products/0002-sku-keys';
import type { Answer } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { account, anOrder, query, stockOf } from './shop';

describe('a catalogue', () => {
  let shop: TestApp;

  beforeAll(async () => {
    shop = await startApp();
  });
  afterAll(() => shop.close());

  const price = { amountMinor: 1000, currency: 'EUR' };
  const add = (sku: string, name = 'A product'): Promise<Answer> =>
    shop.admin.post('/v1/products', { sku, name, price });
  const idOf = (answer: Answer) => answer.body['id'] as string;
  const etagOf = async (path: string) => ({ 'if-match': (await shop.admin.get(path)).headers.get('etag')! });

  /** @returns its path */
  async function archived(sku: string): Promise<string> {
    const path = `/v1/products/${idOf(await add(sku))}`;
    await shop.admin.post(`${path}/stock-adjustments`, { delta: 5, reason: 'made' });
    expect((await shop.admin.delete(path, undefined, await etagOf(path))).status).toBe(204);
    return path;
  }

  describe('restores what was archived', () => {
    it('with its SKU and stock, so that it can be ordered again', async () => {
      const path = await archived('BACK-1');
      const lines = [{ productId: path.split('/').at(-1)!, quantity: 1 }];
      expect((await shop.admin.post('/v1/orders', { lines })).status).toBe(409);
      const restored = await shop.admin.post(`${path}/restore`);
      expect(restored).toMatchObject({ status: 200, body: { sku: 'BACK-1', status: 'active', available: 5 } });
      expect(restored.headers.get('etag')).toMatch(new RegExp(`^"${restored.body['version']}\\+`));
      expect((await shop.admin.get('/v1/products?sku=BACK-1')).body['data']).toHaveLength(1);
      expect((await shop.admin.post('/v1/orders', anOrder({ lines }))).status).toBe(202);
      await shop.settled();
      expect(await stockOf(shop, lines[0]!.productId)).toEqual({ onHand: 5, reserved: 1, available: 4 });
    });

    it('once, and as it was read if that matters', async () => {
      const path = await archived('BACK-2');
      const stale = await shop.admin.post(`${path}/restore`, {}, { 'if-match': '"1"' });
      expect(stale).toMatchObject({ status: 412, body: { code: 'version-mismatch' } });
      const first = await shop.admin.post(`${path}/restore`, {}, await etagOf(path));
      expect(first.status).toBe(200);
      expect((await shop.admin.post(`${path}/restore`)).body).toEqual(first.body);
    });

    it('for staff only', async () => {
      const path = await archived('BACK-3');
      const ada = await account(shop);
      expect((await ada.post(`${path}/restore`)).status).toBe(403);
      expect((await shop.admin.get(path)).body).toMatchObject({ status: 'archived' });
    });
  });

  describe('has a SKU once', () => {
    it.each([
      ['case', 'Dup-1', 'dUP-1'],
      ['blanks around it', 'DUP-2', ' DUP-2\u00a0'],
      ['the width of blanks', 'DUP 3', 'DUP \u2003 3'],
      ['what cannot be seen', 'DUP-4', 'DUP\u200b-4'],
      ['how a letter is composed', 'CAF\u00c9-5', 'cafe\u0301-5'],
      ['letters of which capitals are two', 'STRASSE-6', 'straße-6'],
    ])('whatever %s', async (_, sku, other) => {
      const id = idOf(await add(sku, 'The first'));
      const refused = await add(other);
      expect(refused).toMatchObject({
        status: 409,
        body: { code: 'sku-taken', product: { id, sku, name: 'The first', status: 'active' } },
      });
      expect(refused.body['detail']).toContain(id);
      const found = await shop.admin.get(`/v1/products?sku=${encodeURIComponent(other)}`);
      expect(found.body['data']).toMatchObject([{ id }]);
    });

    it('but not because another only resembles it', async () => {
      expect((await add('LIKE-1')).status).toBe(201);
      expect((await add('LIKE-I')).status).toBe(201);
      expect((await add('LIKE 1')).status).toBe(201);
    });

    it('among archived products too, and says how to get that one back', async () => {
      const path = await archived('DUP-7');
      const { status, body } = await add('dup-7');
      expect({ status, ...body }).toMatchObject({ status: 409, code: 'sku-taken', product: { status: 'archived' } });
      expect(body['detail']).toContain(`POST ${path}/restore`);
      expect((await shop.admin.post(`${path}/restore`)).status).toBe(200);
    });

    it('when several are made at once', async () => {
      const answers = await Promise.all(['ONCE', 'once', 'Once ', ' oNCE'].map((sku) => add(sku)));
      expect(answers.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409]);
    });
  });

  it('keeps products from before that rule, and gives the key to an active one, then to the oldest', async () => {
    const runner = new DataSource({ type: 'postgres', url: shop.databaseUrl });
    await runner.initialize();
    const db = runner.createQueryRunner();
    const migration = new ProductsSkuKeys1790000000110();
    await migration.down(db);
    const old = (nth: number, sku: string, status: string) =>
      query(
        shop,
        `insert into products.products (id, sku, name, description, price_minor, currency, status, version, created_at)
         values ($1, $2, 'Old', '', 100, 'EUR', $3, 1, now() - make_interval(days => 10 - $4))`,
        [`00000000-0000-7000-8000-0000000001${nth}0`, sku, status, nth],
      );
    await old(1, 'old-a', 'archived');
    await old(2, 'OLD-A', 'active');
    await old(3, 'Old-A ', 'active');
    await old(4, 'OLD-B', 'archived');
    await migration.up(db);
    await db.release();
    await runner.destroy();
    const rows = await query(shop, `select sku, sku_key from products.products where name = 'Old' order by id`);
    expect(rows).toEqual([
      { sku: 'old-a', sku_key: null },
      { sku: 'OLD-A', sku_key: 'old-a' },
      { sku: 'Old-A ', sku_key: null },
      { sku: 'OLD-B', sku_key: 'old-b' },
    ]);
    const third = '/v1/products/00000000-0000-7000-8000-000000000130';
    const renamed = await shop.admin.patch(third, { name: 'Renamed' }, await etagOf(third));
    expect(renamed).toMatchObject({ status: 200, body: { sku: 'Old-A ', name: 'Renamed' } });
    expect(await add('old-A')).toMatchObject({ status: 409, body: { product: { sku: 'OLD-A', status: 'active' } } });
    expect(await add('old-a')).toMatchObject({ status: 409, body: { product: { sku: 'OLD-A' } } });
    expect((await shop.admin.get('/v1/products?sku=Old-A')).body['data']).toMatchObject([{ sku: 'OLD-A' }]);
    expect((await shop.admin.get('/v1/products?text=old-a')).body['data']).toHaveLength(2);
  });
});
