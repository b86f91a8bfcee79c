import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A row a saga, folded from its stream: for its timers and for whoever looks. */
export class Sagas1790000000003 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create schema sagas;

      create table sagas.instances (
        id                 uuid        primary key,
        definition         text        not null,
        definition_version integer     not null,
        subject            uuid        not null,
        status             text        not null,
        version            integer     not null,
        step               text,
        attempt            integer,
        error              jsonb,
        due_at             timestamptz,
        started_at         timestamptz not null,
        updated_at         timestamptz not null
      );
      create index on sagas.instances (due_at) where due_at is not null;
      create index on sagas.instances (status, started_at desc);
      create index on sagas.instances (subject);
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`drop schema sagas cascade`);
  }
}
