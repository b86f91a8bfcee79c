import { join } from 'node:path';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { OpenAPIObject } from '@nestjs/swagger';
import type { Json } from '../support/api';
import { readConfig } from '../../src/config/config';

/**
 * The OpenAPI document as users get it: of the build, since that adds the types, limits and examples that comments and
 * class members tell. In preview Nest knows all routes and makes no instances, so it needs no database.
 */
export async function builtOpenApi(): Promise<OpenAPIObject> {
  const built = (file: string) => jest.requireActual<Record<string, Json>>(join(__dirname, '../../dist/src', file));
  const { AppModule } = built('app.module');
  const { openApi } = built('gateway/openapi');
  const config = readConfig({ NODE_ENV: 'test', LOG_LEVEL: 'silent' });
  const module = AppModule.with({ config, secret: 'x'.repeat(32), databaseUrl: 'postgres://localhost/none' });
  const app = await NestFactory.create(module, new FastifyAdapter(), { preview: true, logger: false });
  return openApi(app) as OpenAPIObject;
}
