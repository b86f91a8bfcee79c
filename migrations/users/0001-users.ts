import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Users1790000000010 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create schema users;

      create table users.users (
        id            uuid        primary key,
        email         text        not null,
        name          text        not null,
        password_hash text,
        roles         text[]      not null check (cardinality(roles) > 0),
        status        text        not null check (status in ('active', 'deactivated')),
        version       integer     not null,
        created_at    timestamptz not null default now()
      );
      comment on column users.users.password_hash is 'argon2id; null: cannot sign in until one is set';
      create unique index users_email on users.users (lower(email));
      create index on users.users (created_at desc, id desc);
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`drop schema users cascade`);
  }
}
