import type { QueryConfig } from 'pg';
import type { Database } from '../../kernel/database/database';

/** Permits are counted under this name, in windows of `seconds` that begin with the first of them. */
export interface Limit {
  readonly quota: number;
  readonly seconds: number;
}

export interface Asked extends Limit {
  readonly key: string;
  /** Permits that are needed at once. */
  readonly wanted: number;
}

export interface Lease {
  readonly key: string;
  /** Permits that are ours now; at least as many as were wanted, while there are. */
  readonly lease: number;
  /** Permits that nobody has leased. */
  readonly rest: number;
  /** Tells windows of a key apart. */
  readonly window: string;
  readonly secondsLeft: number;
  /** Other processes that may have permits which they have not used. */
  readonly otherHolders: number;
}

export interface Returned {
  readonly key: string;
  readonly window: string;
  readonly unused: number;
}

/**
 * Gives the process $1 a lease of each key: a quarter of what is left. Once nothing is left and others may have unused
 * permits, it recalls them; from then on nobody gets more than is needed at once. Rows are locked in the order of their
 * keys, so that processes do not wait for each other in a circle.
 */
const leaseText = `
  insert into gateway.rate_limits as r (key, resets_at, quota, taken, asked, lease, holders)
  select key, clock_timestamp() + make_interval(secs => seconds), quota, lease, wanted, lease,
         case when lease > wanted then array[$1::uuid] else '{}' end
  from unnest($2::text[], $3::int[], $4::int[], $5::int[]) as w (key, quota, seconds, wanted),
       lateral (select least(quota, greatest(wanted, (quota + 3) / 4)) as lease) l
  order by key
  on conflict (key) do update set (resets_at, quota, taken, asked, lease, holders, recalled) = (
    select case when is_over then excluded.resets_at else r.resets_at end, excluded.quota, before + given, excluded.asked,
           given, case when given > excluded.asked then others || $1::uuid else others end,
           is_recalled or given < excluded.asked and others <> '{}'
    from (select r.resets_at <= clock_timestamp() as is_over) o,
         lateral (select case when is_over then 0 else r.taken end as before,
                         case when is_over then '{}' else array_remove(r.holders, $1::uuid) end as others,
                         not is_over and r.recalled as is_recalled) b,
         lateral (select greatest(0, excluded.quota - before) as rest) q,
         lateral (select least(rest, case when is_recalled then excluded.asked
                                          else greatest(excluded.asked, (rest + 3) / 4) end) as given) g)
  returning key, lease, greatest(0, quota - taken) as rest, resets_at::text as window,
            extract(epoch from resets_at - clock_timestamp())::float8 as "secondsLeft",
            cardinality(array_remove(holders, $1::uuid)) as "otherHolders"`;

/** The leases of all processes, in a table that a crash of the server empties. */
export class PermitStore {
  constructor(
    private readonly database: Database,
    private readonly process: string,
  ) {}

  async lease(asked: readonly Asked[]): Promise<Lease[]> {
    return this.query<Lease>({
      name: 'rate-limits.lease',
      text: leaseText,
      values: [this.process, ...columns(asked, 'key', 'quota', 'seconds', 'wanted')],
    });
  }

  /** Of which keys others need what this process has not used. */
  async recalled(): Promise<Omit<Returned, 'unused'>[]> {
    return this.query({
      name: 'rate-limits.recalled',
      text: `select key, resets_at::text as window from gateway.rate_limits
             where recalled and holders <> '{}' and holders @> array[$1::uuid]`,
      values: [this.process],
    });
  }

  async giveBack(returned: readonly Returned[]): Promise<void> {
    await this.query({
      name: 'rate-limits.give-back',
      text: `
        with w as materialized (
          select r.key, w.unused
          from unnest($2::text[], $3::text[], $4::int[]) as w (key, of, unused)
          join gateway.rate_limits r on r.key = w.key and r.resets_at::text = w.of
          order by r.key for update of r)
        update gateway.rate_limits r set taken = r.taken - w.unused, holders = array_remove(r.holders, $1::uuid)
        from w where r.key = w.key`,
      values: [this.process, ...columns(returned, 'key', 'window', 'unused')],
    });
  }

  async sweep(): Promise<void> {
    await this.query({
      text: `delete from gateway.rate_limits where key in (
        select key from gateway.rate_limits where resets_at < clock_timestamp() for update skip locked)`,
    });
  }

  private async query<Row>(statement: QueryConfig): Promise<Row[]> {
    return (await this.database.relaxed.query(statement)).rows as Row[];
  }
}

function columns<Row>(rows: readonly Row[], ...names: (keyof Row)[]): unknown[][] {
  return names.map((name) => rows.map((row) => row[name]));
}
