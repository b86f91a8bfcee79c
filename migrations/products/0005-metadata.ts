import type { MigrationInterface, QueryRunner } from 'typeorm';

export class ProductsMetadata1790000000151 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`alter table products.products add column metadata jsonb not null default '{}'`);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('alter table products.products drop column metadata');
  }
}
