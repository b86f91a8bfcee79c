import { hash } from 'node:crypto';
import { Injectable, Logger } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { errors, type JWTPayload, jwtVerify, type JWTVerifyOptions, type JWTVerifyResult } from 'jose';
import { Config } from '../../config/config';
import type { Principal, Role } from '../../kernel/http/principal';
import { ProblemError } from '../../kernel/http/problem';
import { RepeatedWarning } from '../../kernel/repeated-warning';
import { SignInFederated } from '../../modules/users/contracts/sign-in-federated';
import { BoundedMap } from './bounded-map';
import { namedIssuer, profileOf, rolesOf, scopesOf, whyNotBearer } from './oidc-claims';
import { OidcProvider } from './oidc-provider';
import { VoidTokens } from './void-tokens';

/** Those that need the provider's private key. With HS256, its public key would do. */
const algorithms = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
];

/** Difference of the clocks that is allowed for, in seconds. */
const clockTolerance = 30;

/** Tokens that are remembered, about 500 bytes each. */
const remembered = 10_000;

interface Verified {
  readonly principal: Principal;
  readonly active: boolean;
  /** Of the account, when it was read. */
  readonly version: number;
  /** Keys of the provider when it was verified. */
  readonly keys: string | undefined;
  /** In ms since 1970. */
  readonly until: number;
}

/** Access tokens of the identity provider. One that was verified is remembered, so that a request costs no signature. */
@Injectable()
export class OidcTokens {
  /** By the SHA-256 of the token, so that no token lies about in memory. */
  private readonly verified = new BoundedMap<string, Verified>(remembered);
  private readonly checking = new Map<string, Promise<Verified | 'invalid'>>();
  private readonly warning = new RepeatedWarning(new Logger('Oidc'), 'An access token of the provider was refused');
  private readonly options: JWTVerifyOptions;
  private readonly roles: ReadonlyMap<string, Role> | undefined;

  constructor(
    private readonly config: Config,
    private readonly provider: OidcProvider,
    private readonly voidTokens: VoidTokens,
    private readonly commands: CommandBus,
  ) {
    const { issuer, audience } = provider;
    this.roles = config.OIDC_ROLES && new Map(config.OIDC_ROLES);
    const requiredClaims = ['sub', 'exp'];
    this.options = { issuer, audience, algorithms, clockTolerance, requiredClaims };
  }

  /** By the issuer that it names, which is not verified yet. */
  recognises(token: string): boolean {
    return namedIssuer(token) === this.provider.issuer;
  }

  /**
   * @returns `inactive` when the account was deactivated or erased: another token does not help
   * @throws ProblemError 503 when the provider is away and its key is not known
   */
  async verify(token: string): Promise<Principal | 'invalid' | 'inactive'> {
    const digest = hash('sha256', token, 'base64');
    let found: Verified | 'invalid' | undefined = this.verified.get(digest);
    if (found && (found.until <= Date.now() || found.keys !== this.provider.keys)) found = undefined;
    for (let tries = 0; tries < 3; tries++) {
      found ??= await this.checkOnce(digest, token);
      if (found === 'invalid') return 'invalid';
      const { active, principal, version } = found;
      const { userId } = principal;
      if (!(await this.voidTokens.includes({ userId, version }))) return active ? principal : 'inactive';
      // The account has changed since it was read: it may have ended, or have other roles.
      found = undefined;
    }
    return 'invalid';
  }

  /** Requests that come with the same token at the same time wait for one check. */
  private async checkOnce(digest: string, token: string): Promise<Verified | 'invalid'> {
    const running = this.checking.get(digest);
    if (running) return running;
    const check = this.check(token).finally(() => this.checking.delete(digest));
    this.checking.set(digest, check);
    const result = await check;
    if (result === 'invalid') this.verified.delete(digest);
    else this.verified.set(digest, result);
    return result;
  }

  private async check(token: string): Promise<Verified | 'invalid'> {
    const began = Date.now();
    const claims = await this.claimsOf(token);
    if (!claims) return 'invalid';
    const command = new SignInFederated(this.provider.issuer, claims.sub!, profileOf(claims));
    const { userId, active, version, roles } = await this.commands.execute(command);
    const { OIDC_ROLES_CLAIM, ACCESS_TOKEN_SECONDS } = this.config;
    return {
      principal: {
        userId,
        actor: `user:${userId}`,
        roles: this.roles ? rolesOf(claims, OIDC_ROLES_CLAIM, this.roles) : roles,
        scopes: scopesOf(claims),
      },
      active,
      version,
      keys: this.provider.keys,
      // no longer than VoidTokens remembers a change of the account
      until: Math.min((claims.exp! + clockTolerance) * 1000, began + ACCESS_TOKEN_SECONDS * 1000),
    };
  }

  /** Undefined for what is not a valid access token. */
  private async claimsOf(token: string): Promise<JWTPayload | undefined> {
    try {
      const { protectedHeader, payload } = await this.signed(token);
      const reason = whyNotBearer(protectedHeader, payload);
      if (reason) throw new Error(reason);
      return payload;
    } catch (error) {
      if (error instanceof ProblemError) throw error;
      // that is what tokens do
      if (!(error instanceof errors.JWTExpired)) this.warning.warn(error);
      return undefined;
    }
  }

  /** A token without a key id may be signed with any of the keys. */
  private async signed(token: string): Promise<JWTVerifyResult> {
    try {
      return await jwtVerify(token, this.provider.key, this.options);
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
      for await (const key of error) {
        const result = await jwtVerify(token, key, this.options).catch((failure: unknown) => {
          if (failure instanceof errors.JWSSignatureVerificationFailed) return undefined;
          throw failure;
        });
        if (result) return result;
      }
      throw new errors.JWSSignatureVerificationFailed();
    }
  }
}
