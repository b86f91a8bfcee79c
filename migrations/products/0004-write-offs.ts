import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Goods that are written off while they are reserved: they leave the books when their order is cancelled. */
export class ProductsWriteOffs1790000000112 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      alter table products.products
        add column withdrawn integer not null default 0,
        add constraint withdrawn_is_reserved check (0 <= withdrawn and withdrawn <= reserved);
      comment on column products.products.withdrawn is 'Of what is reserved: written off once its order is cancelled';

      drop trigger stock_version on products.products;
      create trigger stock_version before update on products.products for each row
        when ((old.on_hand, old.reserved, old.withdrawn) is distinct from (new.on_hand, new.reserved, new.withdrawn))
        execute function products.count_stock_change();

      create table products.write_offs (
        id             uuid        primary key,
        adjustment_id  uuid        not null,
        reservation_id uuid        not null references products.reservations (id),
        product_id     uuid        not null references products.products (id),
        quantity       integer     not null check (quantity > 0),
        reason         text        not null,
        created_at     timestamptz not null default clock_timestamp(),
        unique (adjustment_id, reservation_id)
      );
      comment on table products.write_offs is
        'Due while the reservation is active, in the ledger under its id once that is released, lapsed if it is committed';
      create index on products.write_offs (reservation_id);
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`
      drop table products.write_offs;
      drop trigger stock_version on products.products;
      create trigger stock_version before update on products.products for each row
        when ((old.on_hand, old.reserved) is distinct from (new.on_hand, new.reserved))
        execute function products.count_stock_change();
      alter table products.products drop column withdrawn;
    `);
  }
}
