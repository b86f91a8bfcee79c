import { type DynamicModule, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Database, guards } from './database';
import { LocatedClient } from './located-client';

/** TypeORM listens to a connection only while it uses it: lost just before or after, it would end the process. */
class WatchedClient extends LocatedClient {
  constructor(...args: ConstructorParameters<typeof LocatedClient>) {
    super(...args);
    this.on('error', () => undefined);
  }
}

/** The connections to the one Postgres: TypeORM's for modules with plain state, {@link Database} for the kernel. */
@Module({})
export class DatabaseModule {
  static forRoot(url: string): DynamicModule {
    return {
      module: DatabaseModule,
      global: true,
      imports: [
        TypeOrmModule.forRoot({
          type: 'postgres',
          autoLoadEntities: true,
          retryAttempts: 0,
          applicationName: 'orderloom/modules',
          poolSize: 10,
          extra: {
            Client: WatchedClient,
            // not as `url`, which TypeORM would interpret in its own way
            connectionString: url,
            options: guards,
          },
        }),
      ],
      providers: [{ provide: Database, useFactory: () => new Database(url) }],
      exports: [Database],
    };
  }
}
