import { createSecretKey } from 'node:crypto';
import { type DynamicModule, Module } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR, APP_PIPE, DiscoveryModule } from '@nestjs/core';
import { JwtModule } from '@nestjs/jwt';
import { ACCESS_TOKEN_OPTIONS, type AccessTokenOptions } from './authentication/access-token-options';
import { ApiKeyVerifier } from './authentication/api-keys';
import { AccessTokens } from './authentication/access-tokens';
import { AuthController } from './authentication/auth.controller';
import { AuthenticationGuard } from './authentication/authentication.guard';
import { DeclaredAccess } from './authentication/declared-access';
import { OidcProvider } from './authentication/oidc-provider';
import { OidcTokens } from './authentication/oidc-tokens';
import { ProtectedResourceController } from './authentication/protected-resource.controller';
import { VoidTokens } from './authentication/void-tokens';
import { Draining } from './draining';
import { EventLoop } from './event-loop';
import { HealthController } from './health.controller';
import { IdempotencyKeys } from './idempotency/idempotency-keys';
import { IdempotencyInterceptor } from './idempotency/idempotency.interceptor';
import { KnownQueryGuard } from './known-query.guard';
import { AppLogger } from './logging';
import { ProblemDetailsFilter } from './problem-details.filter';
import { Permits } from './rate-limits/permits';
import { RateLimits } from './rate-limits/rate-limits';
import { Readiness } from './readiness';
import { ResponseInterceptor } from './response.interceptor';
import { RevealInterceptor } from './reveal.interceptor';
import { validation } from './validation';
import { WaitingInterceptor } from './waiting.interceptor';

export interface GatewayOptions extends AccessTokenOptions {
  /** Signs access tokens. As a KeyObject, since jsonwebtoken takes 15 times as long to verify with a string. */
  readonly secret: string;
  /** True when access tokens of an identity provider are accepted as well. */
  readonly oidc: boolean;
}

/** The front door: what a request passes before a module sees it, in this order. */
@Module({})
export class GatewayModule {
  static forRoot({ secret, oidc, ...options }: GatewayOptions): DynamicModule {
    return {
      module: GatewayModule,
      // for the metrics, which may be off
      global: true,
      imports: [DiscoveryModule, JwtModule.register({ secret: createSecretKey(Buffer.from(secret)) })],
      controllers: [AuthController, HealthController, ...(oidc ? [ProtectedResourceController] : [])],
      providers: [
        AppLogger,
        Draining,
        AccessTokens,
        ApiKeyVerifier,
        VoidTokens,
        ...(oidc ? [OidcProvider, OidcTokens] : []),
        DeclaredAccess,
        IdempotencyKeys,
        EventLoop,
        Readiness,
        Permits,
        RateLimits,
        AuthenticationGuard,
        { provide: ACCESS_TOKEN_OPTIONS, useValue: options },
        { provide: APP_GUARD, useExisting: AuthenticationGuard },
        { provide: APP_GUARD, useClass: KnownQueryGuard },
        { provide: APP_INTERCEPTOR, useClass: WaitingInterceptor },
        { provide: APP_INTERCEPTOR, useClass: RevealInterceptor },
        { provide: APP_INTERCEPTOR, useClass: IdempotencyInterceptor },
        { provide: APP_INTERCEPTOR, useClass: ResponseInterceptor },
        { provide: APP_PIPE, useValue: validation },
        { provide: APP_FILTER, useClass: ProblemDetailsFilter },
      ],
      exports: [Readiness],
    };
  }
}
