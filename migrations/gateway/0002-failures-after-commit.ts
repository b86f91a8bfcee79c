import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Removes responses that say "not found" to requests which may have been carried out. Until now a response was kept that
 * failed only in reading back what the request had just committed, and it was always this one. Which requests these were
 * cannot be told from the table, whose ids are hashes, so all of them go. Deleting a row is always safe: it only saves work.
 * A repeat finds what was done by the ids that derive from its key, or is refused again.
 */
export class GatewayFailuresAfterCommit1790000000071 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`delete from gateway.idempotency_keys where status = 404`);
  }

  /** What is gone was wrong, or is found out again. */
  async down(): Promise<void> {}
}
