import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What ends access tokens early, sets a password without the old one, and limits failed sign-ins. */
export class UsersSignIn1790000000030 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      alter table users.users
        add tokens_void_below integer not null default 0,
        add tokens_voided_at  timestamptz;
      comment on column users.users.tokens_void_below is
        'Access tokens issued at a lower version of the account are void';
      create index users_tokens_voided on users.users (tokens_voided_at) where tokens_voided_at is not null;

      create table users.one_time_codes (
        user_id    uuid        primary key references users.users on delete cascade,
        code_hash  bytea       not null unique,
        expires_at timestamptz not null
      );
      comment on column users.one_time_codes.code_hash is 'SHA-256 of the code, which has 160 random bits';

      -- columns as rate-limiter-flexible expects them; losing the rows in a crash of the server is acceptable
      create unlogged table users.sign_in_attempts (
        key    varchar(255) primary key,
        points integer      not null default 0,
        expire bigint
      );
      comment on column users.sign_in_attempts.expire is 'Milliseconds since 1970';
      create index on users.sign_in_attempts (expire);
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`
      drop table users.sign_in_attempts, users.one_time_codes;
      alter table users.users drop tokens_void_below, drop tokens_voided_at;
    `);
  }
}
