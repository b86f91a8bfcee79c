import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * append() writes with the rights of its owner. The role of the application needs none on the table itself but SELECT,
 * so it cannot write to the log in any other way. The fixed search path keeps a caller from putting objects of its own
 * in the place of those that the function means; its plan settings stay as they are.
 */
export class EventStoreAppendAsOwner1790000000040 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      alter function event_store.append security definer set search_path = pg_catalog, pg_temp;
      revoke all on function event_store.append from public;
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`
      alter function event_store.append security invoker reset search_path;
      grant execute on function event_store.append to public;
    `);
  }
}
