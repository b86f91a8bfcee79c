import { applyDecorators, type Type } from '@nestjs/common';
import { ApiExtraModels, ApiResponse, ApiProperty, ApiPropertyOptional, getSchemaPath } from '@nestjs/swagger';
import { IsOptional, IsString, Length, Max, Min } from 'class-validator';
import type { Listed, ListOrder } from './list-order';
import { IntegerInQuery } from './query-values';

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
  // the longest is that of a product's name
  @Length(1, 3000)
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

/** Cuts a page off rows of which one more than `limit` was asked for. */
export function pageOf<Row, T = Row>(
  rows: readonly Listed<Row>[],
  limit: number,
  order: ListOrder,
  to: (row: Row) => T = (row) => row as unknown as T,
): Page<T> {
  const shown = rows.slice(0, limit);
  const hasMore = rows.length > limit;
  const last = shown.at(-1);
  const next = hasMore && last ? order.encode(last.cursor) : null;
  return { data: shown.map(({ cursor: _, ...row }) => to(row as Row)), page: { next, hasMore } };
}

/** A list that is short by its nature, in the form of all lists. */
export function wholeList<T>(data: T[]): Page<T> {
  return { data, page: { next: null, hasMore: false } };
}

/** Documents an answer of the form {@link Page}. */
export const ApiPage = (item: Type, status = 200) =>
  applyDecorators(
    ApiExtraModels(item, PageInfo),
    ApiResponse({
      status,
      schema: {
        required: ['data', 'page'],
        properties: {
          data: { type: 'array', items: { $ref: getSchemaPath(item) } },
          page: { $ref: getSchemaPath(PageInfo) },
        },
      },
    }),
  );
