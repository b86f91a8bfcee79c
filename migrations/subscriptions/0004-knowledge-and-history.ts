import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What a process must know to run a subscription, so that two versions of the program can run side by side; and the
 * occasions on which the log was found to have lost events, such as a failover to a replica that lagged behind.
 */
export class SubscriptionsKnowledgeAndHistory1790000000061 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      alter table subscriptions.checkpoints
        add column events jsonb not null default '{}',
        add column retired_by text,
        add column retired_at timestamptz;
      comment on column subscriptions.checkpoints.events is
        'Types of the events that it handles, with the newest schema version of each: a process that does not know them may not run it';
      comment on column subscriptions.checkpoints.retired_by is
        'Nobody runs it any more on purpose: its lag is no reason for an alert';

      create table subscriptions.history_changes (
        id              uuid        not null primary key,
        detected_at     timestamptz not null default clock_timestamp(),
        detected_by     uuid        not null,
        lost_from       bigint      not null,
        lost_to         bigint      not null,
        head            bigint      not null,
        acknowledged_by text,
        acknowledged_at timestamptz
      );
      comment on table subscriptions.history_changes is
        'Events that a process has seen in the log and that are not there any more, as after a failover that lost commits';
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`
      drop table subscriptions.history_changes;
      alter table subscriptions.checkpoints drop column events, drop column retired_by, drop column retired_at;
    `);
  }
}
