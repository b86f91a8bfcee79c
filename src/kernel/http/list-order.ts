import { createHash } from 'node:crypto';
import { parseInstant } from '../time/instant';
import { ProblemError } from './problem';
import { isStorable } from './text';

/** Sort values of a row, as text: what a cursor carries. */
export type SortValues = readonly string[];

/** A row of a list, with its sort values. */
export type Listed<T> = T & { readonly cursor: SortValues };

interface Kind {
  /** Type in Postgres, to compare with. */
  readonly type: string;
  readonly fits: (text: string) => boolean;
  /** SQL of the value as text, if it is not just that. */
  readonly text?: (column: string) => string;
}

const digits = /^(0|[1-9]\d{0,18})$/;
const atMost = (max: bigint) => (text: string) => digits.test(text) && BigInt(text) <= max;

const kinds = {
  uuid: { type: 'uuid', fits: (text) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text) },
  // to the microsecond: rows that differ by less than a millisecond must not be skipped
  instant: {
    type: 'timestamptz',
    fits: (text) => /\.\d{6}Z$/.test(text) && parseInstant(text) !== undefined,
    text: (column) => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`,
  },
  integer: { type: 'integer', fits: atMost(2n ** 31n - 1n) },
  bigint: { type: 'bigint', fits: atMost(2n ** 63n - 1n) },
  text: { type: 'text', fits: (text) => text.length <= 300 && isStorable(text) },
} satisfies Record<string, Kind>;

/** A column or expression to sort by, and its kind. */
export type SortKey = readonly [sql: string, kind: keyof typeof kinds];

/**
 * The order of a list whose cursors carry the sort values of the last row seen. The list goes on behind those values, not
 * behind the row: it may have changed or gone since, and no row is lost or doubled but one whose own values changed.
 *
 *     select ..., ${order.cursor} from ... where ${order.beyond('$1')} order by ${order.by} limit $2
 */
export class ListOrder {
  /**
   * @param name of the list and its order: a cursor of another one is refused
   * @param keys that together are unique; none may be null
   */
  constructor(
    private readonly name: string,
    private readonly keys: readonly SortKey[],
    private readonly direction: 'asc' | 'desc' = 'asc',
  ) {}

  /** For `order by`. */
  get by(): string {
    return this.keys.map(([sql]) => `${sql} ${this.direction}`).join(', ');
  }

  /** The same for TypeORM's query builder. */
  get columns(): Record<string, 'ASC' | 'DESC'> {
    const direction = this.direction === 'asc' ? 'ASC' : 'DESC';
    return Object.fromEntries(this.keys.map(([sql]) => [sql, direction]));
  }

  /** For `select`: the column of {@link Listed}, without its name. */
  get sortValues(): string {
    const texts = this.keys.map(([sql, kind]) => (kinds[kind] as Kind).text?.(sql) ?? `${sql}::text`);
    return `array[${texts.join(', ')}]`;
  }

  /** As {@link sortValues}, with the name. */
  get cursor(): string {
    return `${this.sortValues} as cursor`;
  }

  /** For `where`: the rows behind the sort values that the parameter holds; all of them when it is null. */
  beyond(parameter: string): string {
    const values = `${parameter}::text[]`;
    const row = this.keys.map(([sql]) => sql).join(', ');
    const bound = this.keys.map(([, kind], nth) => `(${values})[${nth + 1}]::${kinds[kind].type}`).join(', ');
    return `(${values} is null or (${row}) ${this.direction === 'asc' ? '>' : '<'} (${bound}))`;
  }

  encode(values: SortValues): string {
    const text = JSON.stringify([this.name, ...values]);
    return Buffer.concat([Buffer.from(text), checksum(text)]).toString('base64url');
  }

  /**
   * The sort values in a cursor. The only place that decodes one: what it returns is of the right kinds and bounds.
   *
   * @returns null for the first page
   * @throws ProblemError 400 for anything that {@link encode} does not make, and for a cursor of another list or order
   */
  decode(cursor: string | undefined): SortValues | null {
    if (cursor === undefined) return null;
    const [name, ...values] = parsed(cursor);
    const fits =
      name === this.name &&
      values.length === this.keys.length &&
      this.keys.every(([, kind], nth) => kinds[kind].fits(values[nth]!)) &&
      this.encode(values) === cursor;
    if (fits) return values;
    throw new ProblemError(
      400,
      'cursor-malformed',
      'after takes the value of page.next of the page before, unchanged, of the same list in the same order. ' +
        'Begin with the first page, without after.',
    );
  }
}

/** Tells a cursor that was changed on its way; no secret, as its values are checked as well. */
function checksum(text: string): Buffer {
  return createHash('sha256').update(text).digest().subarray(0, 6);
}

function parsed(cursor: string): string[] {
  try {
    const list: unknown = JSON.parse(Buffer.from(cursor, 'base64url').subarray(0, -6).toString());
    return Array.isArray(list) && list.every((each) => typeof each === 'string') ? list : [];
  } catch {
    return [];
  }
}
