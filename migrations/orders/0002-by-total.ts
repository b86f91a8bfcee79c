import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Totals are sorted within their currency. The index without it goes; a view that was rebuilt has it by another name. */
export class OrdersByTotal1790000000091 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create index on orders.orders_view (currency, total_minor, id);
      do $$
      declare former regclass;
      begin
        for former in
          select indexrelid::regclass from pg_index
          where indrelid = 'orders.orders_view'::regclass
            and pg_get_indexdef(indexrelid) like '% USING btree (total_minor DESC, id DESC)'
        loop
          execute format('drop index %s', former);
        end loop;
      end $$;
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`create index on orders.orders_view (total_minor desc, id desc)`);
  }
}
