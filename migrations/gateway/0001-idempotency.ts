import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Answers to requests that carried an Idempotency-Key, kept for a day and more. */
export class GatewayIdempotency1790000000004 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create schema gateway;

      create table gateway.idempotency_keys (
        id           uuid        primary key,
        fingerprint  text        not null,
        locked_until timestamptz not null,
        status       smallint,
        headers      jsonb,
        body         json,
        created_at   timestamptz not null default clock_timestamp()
      );
      comment on column gateway.idempotency_keys.id is 'Hash of principal, route and key';
      comment on column gateway.idempotency_keys.fingerprint is 'Hash of the request''s body';
      create index on gateway.idempotency_keys (created_at);
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`drop schema gateway cascade`);
  }
}
