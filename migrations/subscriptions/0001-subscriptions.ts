import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Where each durable reader of the log stands, who runs it, and what it could not digest. */
export class Subscriptions1790000000002 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create schema subscriptions;

      create table subscriptions.checkpoints (
        name          text        not null,
        segment       smallint    not null default 0,
        kind          text        not null check (kind in ('projection', 'reaction')),
        position      bigint      not null default 0,
        epoch         bigint      not null default 0,
        owner         uuid,
        backend_pid   integer,
        backend_start timestamptz,
        lease_until   timestamptz,
        updated_at    timestamptz not null default now(),
        paused_by     text,
        version       integer     not null default 1,
        primary key (name, segment)
      );
      comment on column subscriptions.checkpoints.segment is
        'Share of the partitions, by hash; how many there are is settled when the subscription first starts';
      comment on column subscriptions.checkpoints.version is 'Of the projection that made the view';
      comment on column subscriptions.checkpoints.epoch is
        'Raised at every change of owner. Each write names the epoch it was claimed with: a replaced worker writes nothing';
      comment on column subscriptions.checkpoints.backend_pid is
        'The owner''s session: when it is gone from the server, the lease is free at once';

      create table subscriptions.dead_letters (
        subscription text        not null,
        position     bigint      not null,
        event_id     uuid        not null,
        event_type   text        not null,
        partition    text        not null,
        state        text        not null check (state in ('failed', 'parked', 'replayed', 'discarded')),
        error        text,
        attempts     integer     not null default 0,
        since        timestamptz not null default now(),
        replay_requested_by text,
        resolved_by  text,
        resolved_at  timestamptz,
        reason       text,
        primary key (subscription, position)
      );
      create index on subscriptions.dead_letters (subscription, partition, position) where state in ('failed', 'parked');
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`drop schema subscriptions cascade`);
  }
}
