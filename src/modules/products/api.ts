import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayUnique,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  IsUUID,
  Length,
  Matches,
  Max,
  MaxLength,
  Min,
} from 'class-validator';
import { IsCurrencyCode } from '../../kernel/http/codes';
import { tagged } from '../../kernel/http/conditional';
import { Needs } from '../../kernel/http/members';
import {
  ChangesMetadata,
  type Metadata,
  type MetadataChange,
  metadataSchema,
  SetsMetadata,
} from '../../kernel/http/metadata';
import { Money, otherwiseIncomparable } from '../../kernel/http/money';
import { Nested } from '../../kernel/http/nested';
import { PageQuery } from '../../kernel/http/page';
import { BooleanInQuery, IntegerInQuery } from '../../kernel/http/query-values';
import { type ProductSort, productSorts } from './catalogue';
import type { Product } from './product.entity';

export class CreateProductRequest {
  /** Unique among active and archived products; case and blanks make no difference.
   * @example 'TEA-EG-100' */
  @Length(1, 64)
  sku!: string;

  /** @example 'Earl Grey, 100 g' */
  @Length(1, 300)
  name!: string;

  @ApiPropertyOptional()
  @IsOptional()
  @MaxLength(5000)
  description: string = '';

  @Nested(() => Money)
  price!: Money;

  @SetsMetadata()
  @IsOptional()
  metadata?: MetadataChange;
}

export class UpdateProductRequest {
  /** @example 'Earl Grey, 100 g tin' */
  @IsOptional()
  @Length(1, 300)
  name?: string;

  @IsOptional()
  @MaxLength(5000)
  description?: string;

  @IsOptional()
  @Nested(() => Money)
  price?: Money;

  @ChangesMetadata()
  @IsOptional()
  metadata?: MetadataChange;
}

export class ListProductsQuery extends PageQuery {
  /** Part of the name, description or sku, in any case. */
  @IsOptional()
  @IsString()
  @Length(1, 200)
  text?: string;

  /** This sku, in any case. */
  @IsOptional()
  @IsString()
  @Length(1, 64)
  sku?: string;

  /** Of the price, ISO 4217. */
  @IsOptional()
  @IsCurrencyCode()
  @Matches(/^[A-Z]{3}$/)
  currency?: string;

  /** Integer minor units of `currency`, which is needed as well. */
  @IsOptional()
  @Needs('currency', otherwiseIncomparable)
  @IntegerInQuery()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  minPriceMinor?: number;

  /** Integer minor units of `currency`, which is needed as well. */
  @IsOptional()
  @Needs('currency', otherwiseIncomparable)
  @IntegerInQuery()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  maxPriceMinor?: number;

  /** true: only what can be had now; false: only what cannot. */
  @IsOptional()
  @BooleanInQuery()
  available?: boolean;

  /** true: the archived products instead of the active ones. */
  @IsOptional()
  @BooleanInQuery()
  archived?: boolean;

  /** A leading minus: from the greatest down. Prices are sorted by their currency first. */
  @ApiPropertyOptional({ enum: productSorts })
  @IsOptional()
  @IsIn(productSorts)
  sort: ProductSort = 'sku';
}

/** Ids are compared with those in the log, which are in small letters. */
const SmallLetters = () =>
  Transform(({ value }: { value: unknown }) =>
    Array.isArray(value) ? value.map((id: unknown) => (typeof id === 'string' ? id.toLowerCase() : id)) : value,
  );

export class AdjustStockRequest {
  /** How many come in or, negative, go out. */
  // in full: Nest's plugin leaves a member out when one of its decorators has a negative number
  @ApiProperty({ type: 'integer', minimum: -1_000_000_000, maximum: 1_000_000_000, example: 100 })
  @IsInt()
  @Min(-1_000_000_000)
  @Max(1_000_000_000)
  delta!: number;

  /** @example 'delivery from supplier' */
  @Length(1, 500)
  reason!: string;

  /** If it takes goods that are reserved: ids of the orders that lose theirs, one after the other until it is enough. They
   * are cancelled, with this reason, and until then the goods stay on the books as `withdrawn`. What has been shipped by
   * then is not taken (`stock.withdrawal-lapsed` in the order's timeline). Without it, the response is 409 `stock-reserved`; `orders` are up to 20 of the `orderCount` orders
   * that hold the goods. */
  @ApiPropertyOptional({
    type: 'array',
    items: { type: 'string', format: 'uuid' },
    maxItems: 100,
    uniqueItems: true,
    example: [],
  })
  @IsOptional()
  @ArrayMaxSize(100)
  @ArrayUnique()
  @IsUUID(undefined, { each: true })
  @SmallLetters()
  takeFromOrders: string[] = [];
}

export class ProductResponse {
  /** @example '00000000-0000-7000-8000-000000000001' */
  id!: string;

  /** @example 'TEA-EG-100' */
  sku!: string;

  /** @example 'Earl Grey, 100 g' */
  name!: string;

  description!: string;

  price!: Money;

  status!: 'active' | 'archived';

  /** On hand and not reserved. */
  available!: number;

  /** Text of the staff's own by keys of their own. Everybody can read it. */
  @ApiProperty(metadataSchema)
  metadata!: Metadata;

  /** Goes up with every change of the product, except its stock; the ETag. */
  version!: number;
}

export class StockResponse {
  productId!: string;

  sku!: string;

  /** In the house, reserved or not. */
  onHand!: number;

  /** Set aside for orders under way. */
  reserved!: number;

  /** Of what is reserved, how much is written off as soon as its orders are cancelled. */
  withdrawn!: number;

  /** `onHand - reserved` */
  available!: number;

  /** Goes up with every change of the stock. The ETag is made of it; that of the product is another. */
  version!: number;
}

export class StockMovementResponse {
  id!: number;

  kind!: 'adjusted' | 'reserved' | 'released' | 'committed';

  onHandDelta!: number;

  reservedDelta!: number;

  /** The adjustment or reservation that it belongs to. */
  reference!: string;

  reason!: string | null;

  at!: Date;
}

export function stockResponse(product: Product): StockResponse {
  const { id: productId, sku, onHand, reserved, withdrawn, available, stockVersion: version } = product;
  return tagged({ productId, sku, onHand, reserved, withdrawn, available, version }, 'stock');
}

export function productResponse(product: Product): ProductResponse {
  const { id, sku, name, description, status, available, metadata, version } = product;
  const price = { amountMinor: product.priceMinor, currency: product.currency };
  return { id, sku, name, description, price, status, available, metadata, version };
}
