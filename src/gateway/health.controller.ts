import { Controller, Get, VERSION_NEUTRAL } from '@nestjs/common';
import { HealthCheck, HealthCheckService, HealthIndicatorService, TypeOrmHealthIndicator } from '@nestjs/terminus';
import { ApiTags } from '@nestjs/swagger';
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

  /** It can do its work: the database answers and takes writes, and subscriptions get on; 503 says what does not */
  @Get('ready')
  @HealthCheck()
  ready() {
    return this.health.check([
      () => this.database.pingCheck('database', { timeout: 2000 }),
      ...[...this.subscriptions.obstacles()].map(
        ([part, reason]) =>
          () =>
            this.indicators.check(part).down({ reason }),
      ),
    ]);
  }
}
