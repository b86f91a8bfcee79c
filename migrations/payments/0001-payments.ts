import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Payments1790000000012 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      create schema payments;

      create table payments.payments_view (
        id                 uuid        primary key,
        order_id           uuid        not null,
        status             text        not null,
        amount_minor       bigint      not null,
        currency           text        not null,
        method             text        not null,
        provider_reference text,
        refunded_minor     bigint      not null,
        failure            jsonb,
        version            integer     not null,
        requested_at       timestamptz not null,
        updated_at         timestamptz not null
      );
      create index on payments.payments_view (order_id);
      create index on payments.payments_view (requested_at desc, id desc);
      create index on payments.payments_view (status, requested_at desc, id desc);

      create table payments.sandbox_ledger (
        key          text        primary key,
        kind         text        not null check (kind in ('charge', 'refund')),
        charge_key   text        not null,
        outcome      text        not null,
        amount_minor bigint      not null,
        currency     text        not null,
        reference    text        not null unique,
        at           timestamptz not null default clock_timestamp()
      );
      comment on table payments.sandbox_ledger is
        'The books of the sandbox provider: written by it alone, in transactions of its own, as a bank would';
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`drop schema payments cascade`);
  }
}
