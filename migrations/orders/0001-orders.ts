import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Read views only: the orders themselves are in the log. */
export class Orders1790000000014 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create schema orders;

      create table orders.orders_view (
        id                uuid        primary key,
        reference         text,
        customer_id       uuid,
        guest             jsonb,
        status            text        not null,
        payment_status    text        not null,
        fulfilment_status text        not null,
        currency          text        not null,
        total_minor       bigint      not null,
        lines             jsonb       not null,
        line_count        integer     not null,
        shipping_address  jsonb,
        payment_method    text,
        payment_id        uuid,
        shipment_id       uuid,
        tracking_number   text,
        cancellation      jsonb,
        ordered_at        timestamptz not null,
        created_at        timestamptz not null,
        submitted_at      timestamptz,
        updated_at        timestamptz not null,
        version           integer     not null
      );
      create index on orders.orders_view (created_at desc, id desc);
      create index on orders.orders_view (customer_id, created_at desc, id desc);
      create index on orders.orders_view (status, created_at desc, id desc);
      create index on orders.orders_view (total_minor desc, id desc);
      create index on orders.orders_view (ordered_at desc, id desc);
      create index on orders.orders_view (reference) where reference is not null;

      create table orders.timeline (
        position bigint      primary key,
        order_id uuid        not null,
        event_id uuid        not null,
        type     text        not null,
        actor    text        not null,
        at       timestamptz not null,
        data     jsonb       not null
      );
      create index on orders.timeline (order_id, position);
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`drop schema orders cascade`);
  }
}
