import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Sessions, which a sign-in opens and refresh tokens keep open. */
export class UsersSessions1790000000120 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create table users.sessions (
        id           uuid        primary key,
        user_id      uuid        not null references users.users on delete cascade,
        network      text        not null,
        user_agent   text        not null,
        created_at   timestamptz not null default clock_timestamp(),
        last_used_at timestamptz not null default clock_timestamp(),
        expires_at   timestamptz not null,
        ended_at     timestamptz
      );
      comment on column users.sessions.network is 'Of the address of the last use: /24 of IPv4, /48 of IPv6';
      comment on column users.sessions.expires_at is 'Unless it is used before, and never later than its greatest age';
      create index on users.sessions (user_id, created_at desc, id desc);
      create index on users.sessions (ended_at) where ended_at is not null;
      create index on users.sessions ((coalesce(ended_at, expires_at)));

      create table users.refresh_tokens (
        token_hash bytea       primary key,
        session_id uuid        not null references users.sessions on delete cascade,
        used_at    timestamptz,
        salt       bytea,
        check (salt is null or used_at is not null)
      );
      comment on table users.refresh_tokens is
        'All of a session, so that a used one is recognised; the hash is SHA-256 of the token, which has 256 random bits';
      comment on column users.refresh_tokens.salt is
        'Makes the next token from this one, to answer a repeat: while the next one is unused';
      create index on users.refresh_tokens (session_id);
      create index on users.refresh_tokens (session_id) where salt is not null;
      -- rotation never branches
      create unique index refresh_tokens_unused on users.refresh_tokens (session_id) where used_at is null;
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`drop table users.refresh_tokens, users.sessions`);
  }
}
