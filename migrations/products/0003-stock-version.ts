import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Orders change the stock of a product without raising its version. Stock gets a version of its own, raised by a trigger. */
export class ProductsStockVersion1790000000111 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      alter table products.products add column stock_version integer not null default 1;

      create function products.count_stock_change() returns trigger language plpgsql as $$
      begin
        new.stock_version := old.stock_version + 1;
        return new;
      end $$;

      create trigger stock_version before update on products.products for each row
        when ((old.on_hand, old.reserved) is distinct from (new.on_hand, new.reserved))
        execute function products.count_stock_change();
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`
      drop trigger stock_version on products.products;
      drop function products.count_stock_change();
      alter table products.products drop column stock_version;
    `);
  }
}
