import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * A SKU is unique whatever its case and blanks. Products that are there already keep theirs: of several whose SKUs are the
 * same by the new rule, one holds the key (an active one before an archived one, then the oldest), and the others have none.
 */
export class ProductsSkuKeys1790000000110 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      alter table products.products add column sku_key text;
      comment on column products.products.sku_key is
        'What the SKU is compared by; null for products from before this rule whose key another product holds';
    `);
    const products = (await db.query(
      `select id, sku from products.products order by status = 'archived', created_at, id`,
    )) as { id: string; sku: string }[];
    const holders = new Map<string, string>();
    for (const { id, sku } of products) if (!holders.has(keyOf(sku))) holders.set(keyOf(sku), id);
    await db.query(
      `update products.products p set sku_key = k.key from unnest($1::uuid[], $2::text[]) as k (id, key) where p.id = k.id`,
      [[...holders.values()], [...holders.keys()]],
    );
    await db.query('create unique index on products.products (sku_key)');
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('alter table products.products drop column sku_key');
  }
}

function keyOf(sku: string): string {
  const visible = sku
    .normalize('NFC')
    .replace(/\p{Cf}/gu, '')
    .replace(/\s+/gu, ' ')
    .trim();
  return visible.toUpperCase().toLowerCase().normalize('NFC');
}
