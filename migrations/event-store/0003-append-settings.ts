import type { MigrationInterface, QueryRunner } from 'typeorm';

const append = `function event_store.append(uuid[], text[], integer[], integer[], uuid[], text[], smallint[], jsonb[], jsonb[])`;

/**
 * What holds while append() runs, and no longer.
 *
 * Its plan is fixed: a few looks into indices. Left to itself the planner makes it from what it knows of the table, and
 * of a young log it knows that it is empty: it would read all of it for each command until the next ANALYZE. And the
 * permission to write ends with the call, also within a transaction that goes on.
 */
export class EventStoreAppendSettings1790000000023 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    for (const [name, value] of [
      ['event_store.appending', 'on'],
      ['plan_cache_mode', 'force_generic_plan'],
      ['enable_seqscan', 'off'],
      ['enable_hashjoin', 'off'],
      ['enable_mergejoin', 'off'],
    ]) {
      await db.query(`alter ${append} set ${name} = ${value}`);
    }
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`alter ${append} reset all`);
  }
}
