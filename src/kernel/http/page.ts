import { applyDecorators, type Type } from '@nestjs/common';
import { ApiExtraModels, ApiOkResponse, ApiProperty, ApiPropertyOptional, getSchemaPath } from '@nestjs/swagger';
import { Type as Cast } from 'class-transformer';
import { IsInt, IsOptional, IsString, Length, Max, Min } from 'class-validator';
import { ProblemError } from './problem';

/** Query of every list: a page of `limit`, behind the cursor that the page before gave as `next`. */
export class PageQuery {
  @ApiPropertyOptional({ minimum: 1, maximum: 100, default: 20 })
  @IsOptional()
  @Cast(() => Number)
  @IsInt()
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

type CursorKey = string | number;

/** Cuts a page off rows of which one more than `limit` was asked for; `key` gives the sort values of a row. */
export function pageOf<T>(rows: T[], limit: number, key: (row: T) => CursorKey[]): Page<T> {
  const data = rows.slice(0, limit);
  const last = data.at(-1);
  const hasMore = rows.length > limit;
  const next = hasMore && last ? Buffer.from(JSON.stringify(key(last))).toString('base64url') : null;
  return { data, page: { next, hasMore } };
}

/**
 * Sort values in a cursor, which must be of the given kinds.
 *
 * @throws ProblemError 400 for anything that is not a cursor of ours
 */
export function readCursor(
  cursor: string | undefined,
  ...kinds: ('string' | 'number' | 'uuid')[]
): CursorKey[] | undefined {
  if (cursor === undefined) return undefined;
  try {
    const keys = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown;
    const fits = (key: unknown, kind: string) =>
      kind === 'uuid'
        ? typeof key === 'string' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(key)
        : kind === 'number'
          ? Number.isSafeInteger(key)
          : typeof key === kind;
    if (Array.isArray(keys) && keys.length === kinds.length && kinds.every((kind, nth) => fits(keys[nth], kind))) {
      return keys as CursorKey[];
    }
  } catch {
    // falls through to the refusal
  }
  throw new ProblemError(400, 'cursor-malformed', 'after takes the value of page.next of the page before, unchanged.');
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
