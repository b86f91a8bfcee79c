import { Body, Controller, Get, HttpCode, Module, Param, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { IsInt, IsString } from 'class-validator';
import Fastify from 'fastify';
import { AppModule } from '../../../src/app.module';
import { readConfig } from '../../../src/config/config';
import { EventLoop } from '../../../src/gateway/event-loop';
import { httpServer } from '../../../src/gateway/http-server';
import { limitRates, RateLimits } from '../../../src/gateway/rate-limits/rate-limits';
import { shedLoad } from '../../../src/gateway/shed-load';
import { Database } from '../../../src/kernel/database/database';
import { Access, Public } from '../../../src/kernel/http/access';

/** How much of the gateway stands before the route. */
export interface Stage {
  readonly build: 'fastify' | 'nest' | 'server' | 'app';
  /** Settings of the app, which switch its parts on and off. */
  readonly env?: Readonly<Record<string, string>>;
  readonly databaseUrl: string;
}

export const administrator = { username: 'admin@example.com', password: 'a password for benches' };

class ThingRequest {
  @IsString()
  name!: string;

  @IsInt()
  quantity!: number;
}

const thing = (id: string) => ({
  id,
  version: 3,
  sku: 'TEA-EG-100',
  name: 'Earl Grey, 100 g',
  description: 'Black tea with oil of bergamot, from a single garden.',
  price: { amountMinor: 895, currency: 'GBP' },
  createdAt: '2026-11-28T12:00:00.000Z',
});

/** Operations that do nothing, so that what stands before them is all that takes time. */
@Controller('v1/bench')
class BenchController {
  @Get('open/:id')
  @Public()
  open(@Param('id') id: string) {
    return thing(id);
  }

  @Get('own/:id')
  @Access('customer', { scope: 'orders:read' })
  own(@Param('id') id: string) {
    return thing(id);
  }

  @Post('own')
  @Access('customer')
  @HttpCode(201)
  change(@Body() { name }: ThingRequest) {
    return { ...thing(name), name };
  }
}

@Module({ controllers: [BenchController] })
class BenchModule {}

export async function open(stage: string): Promise<Record<string, () => unknown>> {
  const { url, close } = await start(JSON.parse(stage) as Stage);
  return {
    url: () => url,
    /** Microseconds of this process so far. */
    cpu: () => {
      const { user, system } = process.cpuUsage();
      return user + system;
    },
    close,
  };
}

async function start({ build, env, databaseUrl }: Stage): Promise<{ url: string; close: () => Promise<unknown> }> {
  if (build === 'fastify') {
    const fastify = Fastify();
    fastify.get<{ Params: { id: string } }>('/v1/bench/open/:id', ({ params }) => Promise.resolve(thing(params.id)));
    return { url: await fastify.listen({ port: 0, host: '127.0.0.1' }), close: () => fastify.close() };
  }
  const config = readConfig({
    NODE_ENV: 'production',
    PAYMENT_PROVIDER: 'sandbox',
    DATABASE_URL: databaseUrl,
    JWT_SECRET: '9f1c6f04c2b4a06a9f0c2b8d9a14e1f7d3c5e8ab',
    ADMIN_EMAIL: administrator.username,
    ADMIN_PASSWORD: administrator.password,
    DEMO_DATA: 'true',
    ...env,
  });
  const adapter = build === 'nest' ? new FastifyAdapter() : await httpServer(config);
  const options = { config, databaseUrl, secret: config.JWT_SECRET! };
  @Module({ imports: build === 'app' ? [AppModule.with(options), BenchModule] : [BenchModule] })
  class StageModule {}
  const app = await NestFactory.create<NestFastifyApplication>(StageModule, adapter, { logger: false });
  if (build === 'app') {
    const fastify = app.getHttpAdapter().getInstance();
    shedLoad(fastify, app.get(Database), app.get(EventLoop));
    limitRates(fastify, app.get(RateLimits));
  }
  await app.listen(0, '127.0.0.1');
  return { url: await app.getUrl(), close: () => app.close() };
}
