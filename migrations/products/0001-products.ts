import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Products1790000000011 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create schema products;

      create table products.products (
        id          uuid        primary key,
        sku         text        not null unique,
        name        text        not null,
        description text        not null,
        price_minor bigint      not null check (price_minor >= 0),
        currency    char(3)     not null,
        status      text        not null check (status in ('active', 'archived')),
        on_hand     integer     not null default 0,
        reserved    integer     not null default 0,
        available   integer     not null generated always as (on_hand - reserved) stored,
        version     integer     not null,
        created_at  timestamptz not null default now(),
        constraint never_oversold check (0 <= reserved and reserved <= on_hand)
      );

      create table products.reservations (
        id         uuid        primary key,
        order_id   uuid        not null,
        status     text        not null check (status in ('active', 'committed', 'released')),
        created_at timestamptz not null default now(),
        ended_at   timestamptz
      );
      comment on column products.reservations.id is 'Derived from the key of whoever reserves: a repeat finds it';
      create index on products.reservations (order_id);

      create table products.reservation_lines (
        reservation_id uuid    not null references products.reservations (id),
        product_id     uuid    not null references products.products (id),
        quantity       integer not null check (quantity > 0),
        primary key (reservation_id, product_id)
      );
      create index on products.reservation_lines (product_id);

      create table products.stock_movements (
        id             bigint      generated always as identity primary key,
        product_id     uuid        not null references products.products (id),
        kind           text        not null check (kind in ('adjusted', 'reserved', 'released', 'committed')),
        on_hand_delta  integer     not null,
        reserved_delta integer     not null,
        reference      uuid        not null,
        reason         text,
        at             timestamptz not null default clock_timestamp(),
        unique (reference, product_id, kind)
      );
      comment on table products.stock_movements is 'The ledger: its sums are the counters of products.products';
      create index on products.stock_movements (product_id, id desc);
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`drop schema products cascade`);
  }
}
