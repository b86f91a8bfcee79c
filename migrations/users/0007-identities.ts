import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Accounts whose owner signs in with an identity provider. Such an account need not have an e-mail address: the provider
 * may not tell it, and another account may have it.
 */
export class UsersIdentities1790000000130 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create table users.identities (
        hash       bytea       primary key,
        issuer     text        not null,
        user_id    uuid        not null unique references users.users on delete cascade,
        created_at timestamptz not null default now()
      );
      comment on column users.identities.hash is
        'SHA-256 of issuer and subject. It stays when the account is erased, so that the identity opens no other one';

      alter table users.users
        drop constraint erased_has_no_email,
        add constraint erased_has_no_email check (email is null or status <> 'erased');
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`
      drop table users.identities;
      delete from users.users where email is null and status <> 'erased';
      alter table users.users
        drop constraint erased_has_no_email,
        add constraint erased_has_no_email check ((email is null) = (status = 'erased'));
    `);
  }
}
