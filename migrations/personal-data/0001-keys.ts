import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The keys without which what events say about people says nothing. */
export class PersonalData1790000000021 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create schema personal_data;

      create table personal_data.keys (
        person     uuid        primary key,
        key        bytea,
        created_at timestamptz not null default now(),
        erased_at  timestamptz,
        erased_by  text,
        check ((key is null) = (erased_at is not null))
      );
      comment on column personal_data.keys.person is 'An account, or a guest''s order';
      comment on column personal_data.keys.key is
        'Null: erased. The row stays, so that nothing that comes late can make another key';
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`drop schema personal_data cascade`);
  }
}
