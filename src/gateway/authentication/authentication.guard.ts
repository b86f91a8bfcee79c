import { type CanActivate, type ExecutionContext, Injectable, Optional } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import { currentContext } from '../../kernel/context';
import { type Access, ACCESS, hasRole } from '../../kernel/http/access';
import type { AuthenticatedRequest, Principal } from '../../kernel/http/principal';
import { ProblemError } from '../../kernel/http/problem';
import { apiKeyOf, ApiKeyVerifier } from './api-keys';
import { AccessTokens } from './access-tokens';
import { bearerOf } from './bearer';
import { OidcTokens } from './oidc-tokens';

interface Verifier {
  verify(token: string): Promise<Principal | 'invalid' | 'void' | 'inactive'>;
}

/** Who is asking, and whether the operation's declaration lets them: the one place that decides it. */
@Injectable()
export class AuthenticationGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly tokens: AccessTokens,
    private readonly apiKeys: ApiKeyVerifier,
    @Optional() private readonly oidc?: OidcTokens,
  ) {}

  async canActivate(execution: ExecutionContext): Promise<boolean> {
    const access = this.reflector.get<Access>(ACCESS, execution.getHandler());
    if (access.role === 'anyone') return true;
    const request = execution.switchToHttp().getRequest<AuthenticatedRequest>();
    const identity = await this.identify(request);
    if (identity instanceof Error) throw identity;
    request.principal = identity;
    currentContext().actor = identity.actor;
    authorize(identity, access);
    return true;
  }

  /** Finds out who is asking. What is wrong with a credential is said where one is needed. */
  async identify(request: AuthenticatedRequest): Promise<Principal | Error> {
    return (request.identity ??= await this.authenticate(request).catch((error: Error) => error));
  }

  /** @throws ProblemError 401; 400 for two credentials, of which it would not be clear whose rights count */
  private async authenticate(request: FastifyRequest): Promise<Principal> {
    const { authorization, 'x-api-key': header } = request.headers;
    if (authorization !== undefined && header !== undefined) {
      throw new ProblemError(400, 'two-credentials', 'Send either Authorization or X-API-Key, not both.');
    }
    const key = apiKeyOf(request.headers);
    if (key !== undefined) {
      const principal = await this.apiKeys.verify(key, request.ip);
      if (principal !== 'invalid') return principal;
      throw unauthenticated(
        'The API key is unknown, mistyped, has expired or has ended: create one with POST /v1/api-keys.',
      );
    }
    const token = bearerOf(request.headers.authorization);
    // By what it claims to be; whether it is that, the verifier finds out.
    const isOidc = token !== undefined && this.oidc?.recognises(token) === true;
    const verifier: Verifier = isOidc ? this.oidc : this.tokens;
    const principal = token === undefined ? undefined : await verifier.verify(token);
    if (principal === undefined) {
      throw unauthenticated('Send "Authorization: Bearer <access token>"; POST /v1/auth/token gives you one.');
    }
    if (principal === 'invalid') {
      const source = isOidc ? 'the identity provider' : 'POST /v1/auth/token';
      throw unauthenticated(`The access token is invalid or has expired: get a new one from ${source}.`);
    }
    if (principal === 'void') {
      throw unauthenticated(
        'The access token has ended, as its session did or its account was changed: refresh it, or sign in again.',
      );
    }
    if (principal === 'inactive') {
      throw unauthenticated('The account of this access token has been closed. Another token does not help.');
    }
    return principal;
  }
}

/** @throws ProblemError 403 */
function authorize(principal: Principal, { role, scope }: Access): void {
  if (!hasRole(principal, role)) throw new ProblemError(403, 'forbidden', `This is for the role ${role} only.`);
  if (!principal.scopes) return;
  if (!scope) {
    throw new ProblemError(403, 'sign-in-required', 'This is for people who signed in, not for limited credentials.');
  }
  if (principal.scopes.includes(scope)) return;
  // RFC 6750, 3.1
  const challenge = `Bearer realm="orderloom", error="insufficient_scope", scope="${scope}"`;
  const detail = `The credential lacks the scope ${scope}.`;
  throw new ProblemError(403, 'scope-missing', detail, {}, { 'WWW-Authenticate': challenge });
}

function unauthenticated(detail: string): ProblemError {
  return new ProblemError(401, 'unauthenticated', detail, {}, { 'WWW-Authenticate': 'Bearer realm="orderloom"' });
}
