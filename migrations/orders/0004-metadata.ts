import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Sealed; null for an order without any. */
export class OrdersMetadata1790000000150 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query('alter table orders.orders_view add column metadata jsonb');
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('alter table orders.orders_view drop column metadata');
  }
}
