import type { MigrationInterface, QueryRunner } from 'typeorm';

/** How many permits of a rate limit the processes have taken. */
export class GatewayRateLimits1790000000140 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      -- losing the rows in a crash of the server begins new windows, which is acceptable
      create unlogged table gateway.rate_limits (
        key       text        primary key,
        resets_at timestamptz not null,
        quota     integer     not null,
        taken     integer     not null,
        asked     integer     not null,
        lease     integer     not null,
        holders   uuid[]      not null,
        recalled  boolean     not null default false
      ) with (fillfactor = 70);
      comment on column gateway.rate_limits.key is 'Class of operations, and the account or address that it counts for';
      comment on column gateway.rate_limits.taken is 'Permits that processes have leased, less those that they gave back';
      comment on column gateway.rate_limits.asked is 'What the last statement needed at once';
      comment on column gateway.rate_limits.lease is 'What the last statement got';
      comment on column gateway.rate_limits.holders is 'Processes that may have permits which they have not used';
      comment on column gateway.rate_limits.recalled is 'Nothing is left: holders give back what they have not used';
      create index rate_limits_recalled on gateway.rate_limits (key) where recalled and holders <> '{}';
    `);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`drop table gateway.rate_limits`);
  }
}
