import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * E-mail addresses in Unicode's composed form (NFC), as requests are read from now on. An address that another account has
 * in that form already stays as it is: its owner signs in by typing it as before.
 */
export class UsersCanonicalEmail1790000000092 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    const users = (await db.query(
      `select id, email from users.users where octet_length(email) <> length(email) order by created_at, id`,
    )) as { id: string; email: string }[];
    for (const { id, email } of users) {
      const composed = email.normalize('NFC');
      if (composed === email) continue;
      await db.query(
        `update users.users set email = $2
         where id = $1 and not exists (select from users.users other where lower(other.email) = lower($2))`,
        [id, composed],
      );
    }
  }

  /** The earlier form is not known any more, and is not needed. */
  async down(): Promise<void> {}
}
