import { Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import { Config } from '../../config/config';
import { messageOf } from '../../kernel/fault';
import { ProblemError } from '../../kernel/http/problem';
import { RepeatedWarning } from '../../kernel/repeated-warning';
import { type CallPolicy, Resilience } from '../../kernel/resilience/policies';

/** Keys are fetched again after this time in ms, so that one that the provider has withdrawn is no longer accepted. */
const maxAgeMs = 600_000;

/** Least time between two fetches, in ms: tokens with made-up key ids must not become requests to the provider. */
const pauseMs = 5_000;

interface Metadata {
  readonly issuer: string;
  readonly jwks_uri: string;
  readonly authorization_endpoint?: unknown;
  readonly token_endpoint?: unknown;
}

interface Known {
  readonly metadata: Metadata;
  readonly find: ReturnType<typeof createLocalJWKSet>;
  /** The keys as text, to notice a change. */
  readonly keys: string;
  readonly fetchedAt: number;
}

/**
 * The identity provider: its addresses and its keys. They are kept while it is away, for as long as it takes.
 *
 * Not jose's `createRemoteJWKSet`: that one drops old keys when they cannot be fetched again, and tries without a pause
 * while the provider is away.
 */
@Injectable()
export class OidcProvider implements OnApplicationBootstrap {
  readonly issuer: string;
  /** What its tokens for this API name as audience. */
  readonly audience: string;
  private readonly policy: CallPolicy;
  private readonly warning = new RepeatedWarning(new Logger('Oidc'), 'The identity provider cannot be used');
  private known: Known | undefined;
  private fetching: Promise<void> | undefined;
  private triedAt = -Infinity;
  private failed = false;

  constructor(config: Config, resilience: Resilience) {
    this.issuer = config.OIDC_ISSUER!;
    this.audience = config.OIDC_AUDIENCE!;
    const breaker = { timeout: 10_000 };
    this.policy = resilience.policy('identity-provider', { timeoutMs: 3_000, retries: 0, maxConcurrent: 4, breaker });
  }

  /** A start does not wait for the provider, but tells in the log that it cannot be used. */
  onApplicationBootstrap(): void {
    void this.refresh().catch(() => undefined);
  }

  get authorizationEndpoint(): string | undefined {
    return addressIn(this.known?.metadata.authorization_endpoint);
  }

  get tokenEndpoint(): string | undefined {
    return addressIn(this.known?.metadata.token_endpoint);
  }

  /** Changes when the provider's keys do. Fetches them again in the background when they are old. */
  get keys(): string | undefined {
    if (this.known && this.isOld(this.known)) void this.refresh().catch(() => undefined);
    return this.known?.keys;
  }

  /**
   * For `jwtVerify`. A key that is not known is looked for at the provider.
   *
   * @throws ProblemError 503 when it cannot be found out whether the provider has the key
   */
  readonly key: JWTVerifyGetKey = async (header, token) => {
    if (!this.known) await this.refresh();
    else if (this.isOld(this.known)) await this.refresh().catch(() => undefined);
    try {
      return await this.known!.find(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
    }
    await this.refresh();
    return this.known!.find(header, token);
  };

  private isOld({ fetchedAt }: Known): boolean {
    return performance.now() - fetchedAt > maxAgeMs;
  }

  /** Does nothing within the pause after it succeeded. @throws ProblemError 503 when it fails, and within the pause after */
  private refresh(): Promise<void> {
    if (this.fetching) return this.fetching;
    if (performance.now() - this.triedAt < pauseMs) return this.failed ? Promise.reject(away()) : Promise.resolve();
    this.fetching = this.fetchAll()
      .then(
        () => {
          this.failed = false;
          this.warning.over();
        },
        (error: unknown) => {
          this.failed = true;
          this.warning.warn(error);
          throw away();
        },
      )
      .finally(() => {
        this.fetching = undefined;
        // from its end: a provider that does not answer makes it longer than the pause
        this.triedAt = performance.now();
      });
    return this.fetching;
  }

  private async fetchAll(): Promise<void> {
    const metadata = await this.discover();
    const keys = await this.fetchJson<JSONWebKeySet>(metadata.jwks_uri);
    if (!keys) throw new Error(`there is nothing at ${metadata.jwks_uri}`);
    const text = JSON.stringify(keys);
    const unchanged = this.known?.keys === text ? this.known : undefined;
    this.known = {
      metadata,
      find: unchanged?.find ?? createLocalJWKSet(keys),
      keys: unchanged?.keys ?? text,
      fetchedAt: performance.now(),
    };
  }

  /** OpenID Connect Discovery 1.0, or RFC 8414 for a provider of OAuth alone. */
  private async discover(): Promise<Metadata> {
    const { origin, pathname } = new URL(this.issuer);
    const path = pathname.replace(/\/$/, '');
    const metadata =
      (await this.fetchJson<Metadata>(`${origin}${path}/.well-known/openid-configuration`)) ??
      (await this.fetchJson<Metadata>(`${origin}/.well-known/oauth-authorization-server${path}`));
    if (!metadata) throw new Error(`there is no discovery document below ${this.issuer}: check OIDC_ISSUER`);
    if (metadata.issuer !== this.issuer) {
      throw new Error(`it calls itself ${metadata.issuer}: set OIDC_ISSUER to exactly that if it is the right one`);
    }
    return metadata;
  }

  /** Undefined for 404. @throws Error that names the address and the reason */
  private async fetchJson<T>(url: string): Promise<T | undefined> {
    try {
      return await this.policy.execute(async ({ signal }) => {
        // A provider does not move its keys: what a redirect leads to is somebody else's.
        const response = await fetch(url, { signal, redirect: 'error', headers: { Accept: 'application/json' } });
        if (response.status === 404) return undefined;
        if (!response.ok) throw new Error(`it answers ${response.status}`);
        return (await response.json()) as T;
      });
    } catch (error) {
      // fetch says no more than "fetch failed"
      const cause = (error as Error).cause ?? error;
      throw new Error(`${url}: ${messageOf(cause)}`, { cause: error });
    }
  }
}

function addressIn(endpoint: unknown): string | undefined {
  return typeof endpoint === 'string' && /^https?:/.test(endpoint) && URL.canParse(endpoint) ? endpoint : undefined;
}

function away(): ProblemError {
  const detail = 'The identity provider does not answer, so the access token cannot be checked. Try again shortly.';
  return new ProblemError(503, 'identity-provider-away', detail, {}, { 'Retry-After': String(pauseMs / 1000) });
}
