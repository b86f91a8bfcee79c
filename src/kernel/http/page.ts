import { applyDecorators, type Type } from '@nestjs/common';
import { ApiExtraModels, ApiOkResponse, ApiProperty, ApiPropertyOptional, getSchemaPath } from '@nestjs/swagger';
import { IsOptional, IsString, Length, Max, Min } from 'class-validator';
import { ProblemError } from './problem';
import { IntegerInQuery } from './query-values';
import { isStorable } from './text';

/** Query of every list: a page of `limit` rows after the cursor that the page before gave as `next`. */
export class PageQuery {
  @ApiPropertyOptional({ minimum: 1, maximum: 100, default: 20 })
  @IsOptional()
  @IntegerInQuery()
  @Min(1)
  @Max(100)
  limit: number = 20;

  /** `page.next` of the page before. */
  @ApiPropertyOptional()
  @IsOptional()
  @IsString()
  @Length(1, 500)
  after?: string;
}

export class PageInfo {
  /** Cursor of the next page; null at the end. */
  @ApiProperty({ type: String, nullable: true })
  next!: string | null;

  @ApiProperty()
  hasMore!: boolean;
}

export interface Page<T> {
  readonly data: T[];
  readonly page: PageInfo;
}

/** What a cursor can hold: the sort value of a row. */
interface CursorKeys {
  uuid: string;
  /** Version of an aggregate, a Postgres integer. */
  version: number;
  /** Place in the log or in a ledger, a Postgres bigint as far as JavaScript counts exactly. */
  position: number;
  /** As an SKU has it. */
  text: string;
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const fits: { readonly [Kind in keyof CursorKeys]: (key: unknown) => boolean } = {
  uuid: (key) => typeof key === 'string' && uuid.test(key),
  version: (key) => Number.isInteger(key) && Number(key) >= 0 && Number(key) <= 2_147_483_647,
  position: (key) => Number.isSafeInteger(key) && Number(key) >= 0,
  text: (key) => typeof key === 'string' && key.length <= 200 && isStorable(key),
};

/** Cuts a page off rows of which one more than `limit` was asked for; `key` gives the sort value of a row. */
export function pageOf<T>(rows: T[], limit: number, key: (row: T) => string | number): Page<T> {
  const data = rows.slice(0, limit);
  const last = data.at(-1);
  const hasMore = rows.length > limit;
  const next = hasMore && last ? encode([key(last)]) : null;
  return { data, page: { next, hasMore } };
}

/**
 * The sort value in a cursor. The only place that decodes one: what it returns is of the kind and in its bounds.
 *
 * @throws ProblemError 400 for anything that {@link pageOf} does not make for that kind
 */
export function readCursor<Kind extends keyof CursorKeys>(
  cursor: string | undefined,
  kind: Kind,
): CursorKeys[Kind] | undefined {
  if (cursor === undefined) return undefined;
  const keys = decode(cursor);
  if (Array.isArray(keys) && keys.length === 1 && fits[kind](keys[0]) && encode(keys) === cursor) {
    return keys[0] as CursorKeys[Kind];
  }
  throw new ProblemError(400, 'cursor-malformed', 'after takes the value of page.next of the page before, unchanged.');
}

function encode(keys: unknown[]): string {
  return Buffer.from(JSON.stringify(keys)).toString('base64url');
}

function decode(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString());
  } catch {
    return undefined;
  }
}

/** Documents an answer of the form {@link Page}. */
export const ApiPage = (item: Type) =>
  applyDecorators(
    ApiExtraModels(item, PageInfo),
    ApiOkResponse({
      schema: {
        required: ['data', 'page'],
        properties: {
          data: { type: 'array', items: { $ref: getSchemaPath(item) } },
          page: { $ref: getSchemaPath(PageInfo) },
        },
      },
    }),
  );
