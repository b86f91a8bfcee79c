import { Module, type OnApplicationBootstrap } from '@nestjs/common';
import { CommandHandler, type ICommandHandler, type IQueryHandler, QueryHandler } from '@nestjs/cqrs';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Config } from '../../config/config';
import { Catalogue } from './catalogue';
import { GetProducts } from './contracts/get-products';
import { ReleaseInventory, ReserveInventory } from './contracts/reserve-inventory';
import { stockDemoCatalogue } from './demo-catalogue';
import { Product } from './product.entity';
import { ProductsController } from './products.controller';
import { CommitDispatched, ReleaseCancelled } from './reactions';
import { Stock } from './stock';

@QueryHandler(GetProducts)
class GetProductsHandler implements IQueryHandler<GetProducts> {
  constructor(private readonly catalogue: Catalogue) {}

  async execute({ productIds }: GetProducts) {
    const products = await this.catalogue.findAll(productIds);
    return products.map(({ id, sku, name, priceMinor, currency, status, available }) => {
      return { id, sku, name, priceMinor, currency, active: status === 'active', available };
    });
  }
}

@CommandHandler(ReserveInventory)
class ReserveInventoryHandler implements ICommandHandler<ReserveInventory> {
  constructor(private readonly stock: Stock) {}

  execute({ key, orderId, lines }: ReserveInventory) {
    return this.stock.reserve(key, orderId, lines);
  }
}

@CommandHandler(ReleaseInventory)
class ReleaseInventoryHandler implements ICommandHandler<ReleaseInventory> {
  constructor(private readonly stock: Stock) {}

  execute({ key, orderId }: ReleaseInventory) {
    return this.stock.release(key, orderId);
  }
}

/** What is for sale, and how much of it there is. */
@Module({
  imports: [TypeOrmModule.forFeature([Product])],
  controllers: [ProductsController],
  providers: [
    Catalogue,
    Stock,
    GetProductsHandler,
    ReserveInventoryHandler,
    ReleaseInventoryHandler,
    ReleaseCancelled,
    CommitDispatched,
  ],
})
export class ProductsModule implements OnApplicationBootstrap {
  constructor(
    private readonly catalogue: Catalogue,
    private readonly stock: Stock,
    private readonly config: Config,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    if (this.config.DEMO_DATA ?? !this.config.DATABASE_URL) await stockDemoCatalogue(this.catalogue, this.stock);
  }
}
