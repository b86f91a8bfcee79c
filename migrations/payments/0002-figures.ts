import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What is counted of payments. */
export class PaymentsFigures1790000000161 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create table payments.figures (
        figure text    not null,
        label  text    not null,
        value  numeric not null,
        memory jsonb,
        primary key (figure, label)
      ) with (fillfactor = 50);
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`drop table payments.figures`);
  }
}
