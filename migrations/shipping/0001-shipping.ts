import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Shipping1790000000013 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create schema shipping;

      create table shipping.shipments (
        id              uuid        primary key,
        order_id        uuid        not null unique,
        status          text        not null check (status in ('created', 'dispatched', 'delivered', 'cancelled')),
        address         jsonb,
        lines           jsonb       not null,
        tracking_number text,
        version         integer     not null,
        created_at      timestamptz not null default now(),
        dispatched_at   timestamptz,
        delivered_at    timestamptz
      );
      create index on shipping.shipments (created_at desc, id desc);
      create index on shipping.shipments (status, created_at desc, id desc);
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`drop schema shipping cascade`);
  }
}
