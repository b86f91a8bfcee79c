import { Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { Database } from '../../kernel/database/database';
import { messageOf } from '../../kernel/fault';

const sweepMs = 600_000;
/** Longer than any access token lasts: a process that starts learns from them which tokens are void. */
const kept = '3 days';

/** Removes sessions and API keys that ended or expired some days ago. */
@Injectable()
export class EndedCredentials implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger('EndedCredentials');
  private sweeping: NodeJS.Timeout | undefined;

  constructor(private readonly database: Database) {}

  onApplicationBootstrap(): void {
    this.sweeping = setInterval(() => void this.sweep(), sweepMs).unref();
  }

  onApplicationShutdown(): void {
    clearInterval(this.sweeping);
  }

  /** In small batches: one giant DELETE would hold up writers. */
  async sweep(): Promise<void> {
    try {
      for (const table of ['users.sessions', 'users.api_keys']) {
        for (let deleted = 1; deleted > 0;) {
          const result = await this.database.relaxed.query(
            `delete from ${table} where id in (
               select id from ${table} where coalesce(ended_at, expires_at) < now() - interval '${kept}' limit 1000)`,
          );
          deleted = result.rowCount ?? 0;
        }
      }
    } catch (error) {
      this.logger.warn(`Cannot remove what has ended, trying again later: ${messageOf(error)}`);
    }
  }
}
