import { Controller, Get, ServiceUnavailableException, VERSION_NEUTRAL } from '@nestjs/common';
import {
  HealthCheck,
  type HealthCheckResult,
  HealthCheckService,
  HealthIndicatorService,
  TypeOrmHealthIndicator,
} from '@nestjs/terminus';
import { ApiTags } from '@nestjs/swagger';
import { ProblemError } from '../kernel/http/problem';
import { Public } from '../kernel/http/principal';
import { Subscriptions } from '../kernel/subscriptions/subscriptions';

@ApiTags('health')
@Controller({ path: 'health', version: VERSION_NEUTRAL })
@Public()
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly indicators: HealthIndicatorService,
    private readonly database: TypeOrmHealthIndicator,
    private readonly subscriptions: Subscriptions,
  ) {}

  /** The process runs */
  @Get('live')
  live(): { status: string } {
    return { status: 'ok' };
  }

  /** It can do its work: the database answers and takes writes, and subscriptions get on. 503 says what does not */
  @Get('ready')
  @HealthCheck()
  async ready(): Promise<HealthCheckResult> {
    try {
      return await this.health.check([
        () => this.database.pingCheck('database', { timeout: 2000 }),
        ...[...this.subscriptions.obstacles()].map(
          ([part, reason]) =>
            () =>
              this.indicators.check(part).down(reason),
        ),
      ]);
    } catch (error) {
      if (!(error instanceof ServiceUnavailableException)) throw error;
      const { error: down = {} } = error.getResponse() as HealthCheckResult;
      const parts = Object.entries(down).map(([part, found]) => [part, String(found?.['message'])] as const);
      const detail = `Not ready: ${parts.map((each) => each.join(' ')).join('; ')}.`;
      throw new ProblemError(503, 'not-ready', detail, { parts: Object.fromEntries(parts) });
    }
  }
}
