import { Inject, Injectable } from '@nestjs/common';
import { JwtService } from '@nestjs/jwt';
import type { Principal, Role } from '../../kernel/http/principal';
import { newId } from '../../kernel/ids';

export const ACCESS_TOKEN_OPTIONS = Symbol('access-token.options');

export interface AccessTokenOptions {
  readonly lifetimeSeconds: number;
}

const issuer = 'orderloom';
const audience = 'orderloom-api';
const algorithm = 'HS256';

/** Short-lived proof of who is asking: a signed JWT that names the user and its roles. */
@Injectable()
export class AccessTokens {
  constructor(
    private readonly jwt: JwtService,
    @Inject(ACCESS_TOKEN_OPTIONS) private readonly options: AccessTokenOptions,
  ) {}

  get lifetimeSeconds(): number {
    return this.options.lifetimeSeconds;
  }

  issue({ userId, roles }: Principal): Promise<string> {
    const claims = { subject: userId, issuer, audience, jwtid: newId(), expiresIn: this.options.lifetimeSeconds };
    return this.jwt.signAsync({ roles, use: 'access' }, { ...claims, algorithm });
  }

  /** @returns undefined for anything but a valid access token of ours */
  async verify(token: string): Promise<Principal | undefined> {
    try {
      const claims = await this.jwt.verifyAsync<{ sub?: unknown; roles?: unknown; use?: unknown }>(token, {
        algorithms: [algorithm],
        issuer,
        audience,
      });
      if (claims.use !== 'access' || typeof claims.sub !== 'string' || !Array.isArray(claims.roles)) return undefined;
      return { userId: claims.sub, roles: claims.roles as Role[] };
    } catch {
      return undefined;
    }
  }
}
