import type { MigrationInterface, QueryRunner } from 'typeorm';

/** States of long aggregates, so that loading one need not fold all its events. A cache: delete it whenever you like. */
export class EventStoreSnapshots1790000000020 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create table event_store.snapshots (
        aggregate_id   uuid        primary key,
        aggregate_type text        not null,
        version        integer     not null,
        state_version  smallint    not null,
        state          jsonb       not null,
        taken_at       timestamptz not null default clock_timestamp()
      );
      comment on column event_store.snapshots.state_version is
        'Of the shape of state: one of another version than the code expects is ignored, and replaced in time';
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`drop table event_store.snapshots`);
  }
}
