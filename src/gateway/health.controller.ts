import { Controller, Get, VERSION_NEUTRAL } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Public } from '../kernel/http/access';
import { ApiProblems } from '../kernel/http/api-problems';
import { RateClass } from '../kernel/http/rate-class';
import { ProblemError } from '../kernel/http/problem';
import { Draining, shuttingDown } from './draining';
import { Readiness } from './readiness';

class HealthResponse {
  /** @example 'ok' */
  status!: string;
}

@ApiTags('health')
@Controller({ path: 'health', version: VERSION_NEUTRAL })
@RateClass('none')
export class HealthController {
  constructor(
    private readonly readiness: Readiness,
    private readonly draining: Draining,
  ) {}

  /** The process runs */
  @Get('live')
  @Public()
  live(): HealthResponse {
    return { status: 'ok' };
  }

  /**
   * It can do its work: the database takes writes, the log is read, subscriptions get on, the event loop keeps up, and it is
   * not about to stop
   *
   * 503 names in `parts` what does not, with the reason. Asks nobody: it answers from what the process has seen lately.
   */
  @Get('ready')
  @Public()
  @ApiProblems(503)
  ready(): HealthResponse {
    if (this.draining.begun) throw shuttingDown({ parts: { shutdown: 'has begun' } });
    const obstacles = this.readiness.obstacles();
    if (obstacles.size === 0) return { status: 'ok' };
    const reasons = [...obstacles].map((each) => each.join(' ')).join('; ');
    throw new ProblemError(503, 'not-ready', `Not ready: ${reasons}.`, { parts: Object.fromEntries(obstacles) });
  }
}
