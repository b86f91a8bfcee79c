import type { MigrationInterface, QueryRunner } from 'typeorm';

/** In the clear, as name and e-mail address are: emptied when the account is erased. */
export class UsersMetadata1790000000152 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`alter table users.users add column metadata jsonb not null default '{}'`);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('alter table users.users drop column metadata');
  }
}
