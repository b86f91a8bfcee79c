import { type DynamicModule, Module } from '@nestjs/common';
import { Config } from './config';

/** The validated environment, for whoever asks for {@link Config}. */
@Module({})
export class ConfigModule {
  static forRoot(config: Config): DynamicModule {
    return {
      module: ConfigModule,
      global: true,
      providers: [{ provide: Config, useValue: config }],
      exports: [Config],
    };
  }
}
