import { Inject, Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { QueryBus } from '@nestjs/cqrs';
import { Subscriptions } from '../../kernel/subscriptions/subscriptions';
import { GetVoidTokens, tokenVoidingEvents } from '../../modules/users/contracts/get-void-tokens';
import { ACCESS_TOKEN_OPTIONS, type AccessTokenOptions } from './access-token-options';

/** Difference of the clocks of replicas and database that is allowed for. */
const skewSeconds = 300;
const sweepMs = 60_000;

/**
 * Which access tokens have ended before they expire: those of accounts that were deactivated or erased, or whose roles
 * or password changed. Kept in memory for as long as such a token could still be valid, and fed from the log, so that a
 * request costs no query.
 */
@Injectable()
export class VoidTokens implements OnModuleInit, OnApplicationShutdown {
  private readonly belowVersion = new Map<string, { version: number; until: number }>();
  private loading: Promise<void> | undefined;
  private unfollow = () => {};
  private sweeping: NodeJS.Timeout | undefined;

  constructor(
    private readonly subscriptions: Subscriptions,
    private readonly queries: QueryBus,
    @Inject(ACCESS_TOKEN_OPTIONS) private readonly options: AccessTokenOptions,
  ) {}

  onModuleInit(): void {
    this.unfollow = this.subscriptions.follow(
      tokenVoidingEvents,
      ({ aggregateId, version }) => this.add(aggregateId, version),
      () => {
        this.belowVersion.clear();
        this.loading = undefined;
      },
    );
    this.sweeping = setInterval(() => this.sweep(), sweepMs).unref();
  }

  onApplicationShutdown(): void {
    this.unfollow();
    clearInterval(this.sweeping);
  }

  /** True when tokens of this account that were issued at `version` have ended. */
  async includes(userId: string, version: number): Promise<boolean> {
    await (this.loading ??= this.load());
    if (this.subscriptions.areFollowersStale) {
      const [found] = await this.queries.execute(new GetVoidTokens({ userId }));
      return found !== undefined && version < found.belowVersion;
    }
    return version < (this.belowVersion.get(userId)?.version ?? 0);
  }

  /** What ended before this process began to follow the log; tried again at the next request when it fails. */
  private async load(): Promise<void> {
    try {
      const seconds = this.options.lifetimeSeconds + skewSeconds;
      for (const { userId, belowVersion } of await this.queries.execute(new GetVoidTokens({ seconds }))) {
        this.add(userId, belowVersion);
      }
    } catch (error) {
      this.loading = undefined;
      throw error;
    }
  }

  private add(userId: string, version: number): void {
    const known = this.belowVersion.get(userId)?.version ?? 0;
    const until = Date.now() + (this.options.lifetimeSeconds + skewSeconds) * 1000;
    this.belowVersion.set(userId, { version: Math.max(known, version), until });
  }

  private sweep(): void {
    const now = Date.now();
    for (const [userId, { until }] of this.belowVersion) if (until < now) this.belowVersion.delete(userId);
  }
}
