import { createHash, timingSafeEqual } from 'node:crypto';
import {
  type CanActivate,
  Controller,
  type ExecutionContext,
  Get,
  Header,
  Injectable,
  UseGuards,
  VERSION_NEUTRAL,
} from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { Registry } from 'prom-client';
import { Config } from '../../config/config';
import { Public } from '../../kernel/http/access';
import { ApiProblems } from '../../kernel/http/api-problems';
import { RateClass } from '../../kernel/http/rate-class';
import { ProblemError } from '../../kernel/http/problem';
import { Metrics } from './metrics';

/** Access tokens are short-lived and belong to people: a scraper has a secret of its own, if one is set. */
@Injectable()
class ScraperGuard implements CanActivate {
  constructor(private readonly config: Config) {}

  canActivate(execution: ExecutionContext): boolean {
    const { METRICS_TOKEN: expected } = this.config;
    if (expected === undefined) return true;
    const { authorization } = execution.switchToHttp().getRequest<FastifyRequest>().headers;
    const given = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1] ?? '';
    if (timingSafeEqual(digest(given), digest(expected))) return true;
    const headers = { 'WWW-Authenticate': 'Bearer realm="orderloom metrics"' };
    throw new ProblemError(401, 'unauthenticated', 'Send "Authorization: Bearer <METRICS_TOKEN>".', {}, headers);
  }
}

const digest = (text: string) => createHash('sha256').update(text).digest();

@ApiTags('health')
@Controller({ path: 'metrics', version: VERSION_NEUTRAL })
@RateClass('none')
@UseGuards(ScraperGuard)
export class MetricsController {
  constructor(private readonly source: Metrics) {}

  /** For Prometheus, in its text format; 200 also while the database is away */
  @Get()
  @Public()
  @Header('Content-Type', Registry.PROMETHEUS_CONTENT_TYPE)
  @ApiOkResponse({ content: { 'text/plain': { schema: { type: 'string' } } } })
  @ApiProblems(401)
  metrics(): Promise<string> {
    return this.source.scrape();
  }
}
