import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What is counted of orders, and what has to be remembered of those that have not ended. */
export class OrdersFigures1790000000160 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create table orders.figures (
        figure text    not null,
        label  text    not null,
        value  numeric not null,
        memory jsonb,
        primary key (figure, label)
      ) with (fillfactor = 50);
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`drop table orders.figures`);
  }
}
