import { Body, Controller, Delete, Get, HttpCode, Param, ParseUUIDPipe, Patch, Post, Query } from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import { ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { currentContext } from '../../kernel/context';
import { Access, Public } from '../../kernel/http/access';
import { ApiProblems } from '../../kernel/http/api-problems';
import { ApiIfMatch, type EntityTag, IfMatch, IfMatchTag, versionIn } from '../../kernel/http/conditional';
import { IdempotencyKeyRequired } from '../../kernel/http/idempotency';
import { type Listed, ListOrder } from '../../kernel/http/list-order';
import { mergedMetadata } from '../../kernel/http/metadata';
import { ApiPage, type Page, pageOf, PageQuery } from '../../kernel/http/page';
import {
  AdjustStockRequest,
  CreateProductRequest,
  ListProductsQuery,
  ProductResponse,
  productResponse,
  StockMovementResponse,
  StockResponse,
  stockResponse,
  UpdateProductRequest,
} from './api';
import { Catalogue, productOrder } from './catalogue';
import { Stock } from './stock';

/** The ledger, newest first. */
export const movementOrder = new ListOrder('stock-movements', [['stock_movements.id', 'bigint']], 'desc');

@ApiTags('products')
@Controller('v1/products')
export class ProductsController {
  constructor(
    private readonly catalogue: Catalogue,
    private readonly stock: Stock,
    @InjectDataSource() private readonly dataSource: DataSource,
  ) {}

  /** Search the catalogue */
  @Get()
  @Public()
  @ApiPage(ProductResponse)
  @ApiProblems(400)
  async listProducts(@Query() { limit, after, sort, ...filter }: ListProductsQuery): Promise<Page<ProductResponse>> {
    const order = productOrder(sort);
    const products = await this.catalogue.list(filter, order, limit + 1, order.decode(after));
    return pageOf(products, limit, order, productResponse);
  }

  /** One product */
  @Get(':id')
  @Public()
  @ApiProblems(400, 404)
  async getProduct(@Param('id', ParseUUIDPipe) id: string): Promise<ProductResponse> {
    return productResponse(await this.catalogue.get(id));
  }

  /** Add a product (staff); 409 `sku-taken` names the `product` that has the SKU, active or archived */
  @Post()
  @Access('staff', { scope: 'products:write' })
  @IdempotencyKeyRequired()
  @ApiProblems(400, 409, 422)
  async createProduct(@Body() { price, metadata: given, ...data }: CreateProductRequest): Promise<ProductResponse> {
    const { amountMinor: priceMinor, currency } = price;
    const metadata = mergedMetadata({}, given);
    return productResponse(await this.catalogue.create({ ...data, priceMinor, currency, metadata }));
  }

  /** Change name, description, price or metadata (staff); orders keep the price they were made with */
  @Patch(':id')
  @Access('staff', { scope: 'products:write' })
  @ApiIfMatch(true)
  @ApiProblems(400, 404, 412, 428)
  async updateProduct(
    @Param('id', ParseUUIDPipe) id: string,
    @IfMatch('required') version: number,
    @Body() { name, description, price, metadata }: UpdateProductRequest,
  ): Promise<ProductResponse> {
    const change = { name, description, priceMinor: price?.amountMinor, currency: price?.currency, metadata };
    return productResponse(await this.catalogue.change(id, change, version));
  }

  /** Take a product off the catalogue (staff); it is archived, keeps its SKU, and can be restored */
  @Delete(':id')
  @Access('staff', { scope: 'products:write' })
  @HttpCode(204)
  @ApiIfMatch(true)
  @ApiProblems(400, 404, 412, 428)
  async archiveProduct(@Param('id', ParseUUIDPipe) id: string, @IfMatch('required') version: number): Promise<void> {
    await this.catalogue.archive(id, version);
  }

  /** Put an archived product back into the catalogue (staff) */
  @Post(':id/restore')
  @Access('staff', { scope: 'products:write' })
  @HttpCode(200)
  @ApiIfMatch()
  @ApiProblems(400, 404, 412, 422)
  async restoreProduct(
    @Param('id', ParseUUIDPipe) id: string,
    @IfMatch() version: number | undefined,
  ): Promise<ProductResponse> {
    return productResponse(await this.catalogue.restore(id, version));
  }

  /** How many there are (staff). Its ETag is the one for stock-adjustments */
  @Get(':id/stock')
  @Access('staff', { scope: 'products:read' })
  @ApiProblems(400, 404)
  async getStock(@Param('id', ParseUUIDPipe) id: string): Promise<StockResponse> {
    return stockResponse(await this.catalogue.get(id));
  }

  /** Goods come in, or are written off (staff); takeFromOrders writes off reserved ones, and cancels their orders */
  @Post(':id/stock-adjustments')
  @Access('staff', { scope: 'products:write' })
  @IdempotencyKeyRequired()
  @ApiIfMatch()
  @ApiProblems(400, 404, 409, 412, 422)
  async adjustStock(
    @Param('id', ParseUUIDPipe) id: string,
    @IfMatchTag() seen: EntityTag | undefined,
    @Body() { delta, reason, takeFromOrders }: AdjustStockRequest,
  ): Promise<StockResponse> {
    const expectedVersion = versionIn(seen, 'stock');
    const options = { expectedVersion, takeFromOrders };
    await this.stock.adjust(currentContext().nextId('stock-adjustment'), id, delta, reason, options);
    return this.getStock(id);
  }

  /** The ledger of a product's stock, newest first (staff) */
  @Get(':id/stock-movements')
  @Access('staff', { scope: 'products:read' })
  @ApiPage(StockMovementResponse)
  @ApiProblems(400, 404)
  async listStockMovements(
    @Param('id', ParseUUIDPipe) id: string,
    @Query() { limit, after }: PageQuery,
  ): Promise<Page<StockMovementResponse>> {
    await this.catalogue.get(id);
    const rows = await this.dataSource.query<Listed<StockMovementResponse>[]>(
      `select id::float8 as id, kind, on_hand_delta as "onHandDelta", reserved_delta as "reservedDelta", reference, reason,
              at as at, ${movementOrder.cursor}
       from products.stock_movements where product_id = $1 and ${movementOrder.beyond('$2')}
       order by ${movementOrder.by} limit $3`,
      [id, movementOrder.decode(after), limit + 1],
    );
    return pageOf(rows, limit, movementOrder);
  }
}
