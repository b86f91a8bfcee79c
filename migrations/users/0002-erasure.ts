import type { MigrationInterface, QueryRunner } from 'typeorm';

/** An erased account keeps its id, which orders and events name, and nothing else. */
export class UsersErasure1790000000022 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      alter table users.users
        alter email drop not null,
        drop constraint users_status_check,
        add constraint users_status_check check (status in ('active', 'deactivated', 'erased')),
        add constraint erased_has_no_email check ((email is null) = (status = 'erased'));
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`
      delete from users.users where status = 'erased';
      alter table users.users
        alter email set not null,
        drop constraint erased_has_no_email,
        drop constraint users_status_check,
        add constraint users_status_check check (status in ('active', 'deactivated'));
    `);
  }
}
