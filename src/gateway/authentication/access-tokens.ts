import { Inject, Injectable } from '@nestjs/common';
import { JwtService } from '@nestjs/jwt';
import type { Principal, Role } from '../../kernel/http/principal';
import { newId } from '../../kernel/ids';
import type { VerifiedUser } from '../../modules/users/contracts/verify-credentials';
import { ACCESS_TOKEN_OPTIONS, type AccessTokenOptions } from './access-token-options';
import { VoidTokens } from './void-tokens';

const issuer = 'orderloom';
const audience = 'orderloom-api';
const algorithm = 'HS256';

interface Claims {
  readonly sub?: unknown;
  readonly roles?: unknown;
  readonly use?: unknown;
  /** Version of the account when the token was issued. */
  readonly ver?: unknown;
  /** Session that it belongs to. */
  readonly sid?: unknown;
}

/** Short-lived proof of who is asking: a signed JWT that names the account, its roles and its version. */
@Injectable()
export class AccessTokens {
  constructor(
    private readonly jwt: JwtService,
    private readonly voidTokens: VoidTokens,
    @Inject(ACCESS_TOKEN_OPTIONS) private readonly options: AccessTokenOptions,
  ) {}

  get lifetimeSeconds(): number {
    return this.options.lifetimeSeconds;
  }

  issue({ userId, roles, version }: VerifiedUser, sessionId?: string): Promise<string> {
    const claims = { subject: userId, issuer, audience, jwtid: newId(), expiresIn: this.options.lifetimeSeconds };
    return this.jwt.signAsync({ roles, use: 'access', ver: version, sid: sessionId }, { ...claims, algorithm });
  }

  /** @returns `invalid` for anything but an access token of ours, `void` for one that has ended early */
  async verify(token: string): Promise<Principal | 'invalid' | 'void'> {
    let claims: Claims;
    try {
      claims = await this.jwt.verifyAsync<Claims>(token, { algorithms: [algorithm], issuer, audience });
    } catch {
      return 'invalid';
    }
    const { sub: userId, roles, use, ver: version, sid: sessionId } = claims;
    if (use !== 'access' || typeof userId !== 'string' || !Array.isArray(roles)) return 'invalid';
    if (typeof version !== 'number' || (sessionId !== undefined && typeof sessionId !== 'string')) return 'invalid';
    if (await this.voidTokens.includes({ userId, version, credentialId: sessionId })) return 'void';
    return { userId, roles: roles as Role[], sessionId, actor: `user:${userId}` };
  }
}
