import { type DynamicModule, Module } from '@nestjs/common';
import { LoggerModule } from 'nestjs-pino';
import type { Config } from './config/config';
import { ConfigModule } from './config/config.module';
import { GatewayModule } from './gateway/gateway.module';
import { loggerOptions } from './gateway/logging';
import { MetricsModule } from './gateway/metrics/metrics.module';
import type { PoolSizes } from './kernel/database/database';
import { KernelModule, type KernelOptions } from './kernel/kernel.module';
import { OperationsModule } from './modules/operations/operations.module';
import { OrdersModule } from './modules/orders/orders.module';
import { PaymentsModule } from './modules/payments/payments.module';
import { ProductsModule } from './modules/products/products.module';
import { ShippingModule } from './modules/shipping/shipping.module';
import { UsersModule } from './modules/users/users.module';

export interface AppOptions extends KernelOptions {
  readonly config: Config;
  /** Signs access tokens. */
  readonly secret: string;
}

/** The table of contents. */
@Module({})
export class AppModule {
  static with({ config, secret, ...kernel }: AppOptions): DynamicModule {
    const metrics = config.METRICS ?? (config.NODE_ENV !== 'production' || config.METRICS_TOKEN !== undefined);
    return {
      module: AppModule,
      imports: [
        ConfigModule.forRoot(config),
        LoggerModule.forRoot(loggerOptions(config)),
        KernelModule.forRoot({ ...kernel, pools: poolsOf(config) }),
        GatewayModule.forRoot({
          secret,
          lifetimeSeconds: config.ACCESS_TOKEN_SECONDS,
          oidc: config.OIDC_ISSUER !== undefined,
        }),
        ...(metrics ? [MetricsModule] : []),
        UsersModule,
        ProductsModule,
        OrdersModule,
        PaymentsModule,
        ShippingModule,
        OperationsModule,
      ],
    };
  }
}

function poolsOf({ DATABASE_POOL_READS, DATABASE_POOL_VIEWS, DATABASE_POOL_ROWS }: Config): PoolSizes {
  return { reads: DATABASE_POOL_READS, views: DATABASE_POOL_VIEWS, rows: DATABASE_POOL_ROWS };
}
