import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Keys by which programs act for an account, within their scopes. */
export class UsersApiKeys1790000000121 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create table users.api_keys (
        id           uuid        primary key,
        user_id      uuid        not null references users.users on delete cascade,
        key_hash     bytea       not null unique,
        start        text        not null,
        name         text        not null,
        scopes       text[]      not null check (cardinality(scopes) > 0),
        created_at   timestamptz not null default clock_timestamp(),
        last_used_at timestamptz,
        expires_at   timestamptz,
        ended_at     timestamptz
      );
      comment on column users.api_keys.key_hash is 'SHA-256 of the key, which has 256 random bits';
      comment on column users.api_keys.start is 'First characters of the key, for its owner to recognise it by';
      comment on column users.api_keys.last_used_at is 'To the minute';
      create index on users.api_keys (user_id, created_at desc, id desc);
      create index on users.api_keys (ended_at) where ended_at is not null;
      create index on users.api_keys ((coalesce(ended_at, expires_at)));
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`drop table users.api_keys`);
  }
}
