import { Inject, Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { QueryBus } from '@nestjs/cqrs';
import { Subscriptions } from '../../kernel/subscriptions/subscriptions';
import {
  credentialEndingEvents,
  GetVoidTokens,
  IsTokenVoid,
  tokenVoidingEvents,
} from '../../modules/users/contracts/get-void-tokens';
import { ACCESS_TOKEN_OPTIONS, type AccessTokenOptions } from './access-token-options';

/** Difference of the clocks of replicas and database that is allowed for. */
const skewSeconds = 300;
const sweepMs = 60_000;

/** Of an access token or a verified API key. */
export interface Issued {
  readonly userId: string;
  /** Version of the account when it was issued or verified. */
  readonly version: number;
  /** Session or API key that it belongs to. */
  readonly credentialId?: string;
}

/**
 * Which access tokens and API keys have ended before they expire: those of accounts that were deactivated or erased, or
 * whose roles or password changed, and those of sessions and keys that were ended. Kept in memory for as long as such a
 * token could still be valid, and fed from the log, so that a request costs no query.
 */
@Injectable()
export class VoidTokens implements OnModuleInit, OnApplicationShutdown {
  private readonly belowVersion = new Map<string, { version: number; until: number }>();
  /** Ended sessions and keys, and until when they are kept. */
  private readonly ended = new Map<string, number>();
  private loading: Promise<void> | undefined;
  private unfollow = () => {};
  private sweeping: NodeJS.Timeout | undefined;

  constructor(
    private readonly subscriptions: Subscriptions,
    private readonly queries: QueryBus,
    @Inject(ACCESS_TOKEN_OPTIONS) private readonly options: AccessTokenOptions,
  ) {}

  onModuleInit(): void {
    const ofCredentials: readonly string[] = credentialEndingEvents;
    this.unfollow = this.subscriptions.follow(
      [...tokenVoidingEvents, ...credentialEndingEvents],
      ({ aggregateId, eventType, version }) => {
        if (ofCredentials.includes(eventType)) this.end(aggregateId);
        else this.outdate(aggregateId, version);
      },
      () => {
        this.belowVersion.clear();
        this.ended.clear();
        this.loading = undefined;
      },
    );
    this.sweeping = setInterval(() => this.sweep(), sweepMs).unref();
  }

  onApplicationShutdown(): void {
    this.unfollow();
    clearInterval(this.sweeping);
  }

  /** True when this has ended. */
  async includes({ userId, version, credentialId }: Issued): Promise<boolean> {
    await (this.loading ??= this.load());
    if (this.subscriptions.areFollowersStale) {
      return this.queries.execute(new IsTokenVoid(userId, version, credentialId));
    }
    if (version < (this.belowVersion.get(userId)?.version ?? 0)) return true;
    return credentialId !== undefined && this.ended.has(credentialId);
  }

  /** What ended before this process began to follow the log; tried again at the next request when it fails. */
  private async load(): Promise<void> {
    try {
      const seconds = this.options.lifetimeSeconds + skewSeconds;
      const { accounts, credentials } = await this.queries.execute(new GetVoidTokens(seconds));
      for (const { userId, belowVersion } of accounts) this.outdate(userId, belowVersion);
      for (const id of credentials) this.end(id);
    } catch (error) {
      this.loading = undefined;
      throw error;
    }
  }

  private outdate(userId: string, version: number): void {
    const known = this.belowVersion.get(userId)?.version ?? 0;
    this.belowVersion.set(userId, { version: Math.max(known, version), until: this.until() });
  }

  private end(credentialId: string): void {
    this.ended.set(credentialId, this.until());
  }

  private until(): number {
    return Date.now() + (this.options.lifetimeSeconds + skewSeconds) * 1000;
  }

  private sweep(): void {
    const now = Date.now();
    for (const [userId, { until }] of this.belowVersion) if (until < now) this.belowVersion.delete(userId);
    for (const [id, until] of this.ended) if (until < now) this.ended.delete(id);
  }
}
