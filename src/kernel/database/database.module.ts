import { type DynamicModule, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Database, defaultPools, type PoolSizes, waitMs } from './database';
import { Session } from './session';

/** The connections to the one Postgres: TypeORM's for modules with plain state, {@link Database} for the kernel. */
@Module({})
export class DatabaseModule {
  static forRoot(url: string, pools: PoolSizes = defaultPools): DynamicModule {
    return {
      module: DatabaseModule,
      global: true,
      imports: [
        TypeOrmModule.forRoot({
          type: 'postgres',
          autoLoadEntities: true,
          retryAttempts: 0,
          applicationName: 'orderloom/modules',
          poolSize: pools.rows,
          connectTimeoutMS: waitMs,
          // not as `url`, which TypeORM would interpret in its own way
          extra: { Client: Session, connectionString: url },
        }),
      ],
      providers: [{ provide: Database, useFactory: () => new Database(url, pools) }],
      exports: [Database],
    };
  }
}
