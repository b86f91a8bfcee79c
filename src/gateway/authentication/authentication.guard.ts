import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { currentContext } from '../../kernel/context';
import { type AuthenticatedRequest, isStaff, PUBLIC, type Role, ROLES } from '../../kernel/http/principal';
import { ProblemError } from '../../kernel/http/problem';
import { AccessTokens } from './access-tokens';

/** Every route needs a valid access token unless it is marked public, and the roles it names. */
@Injectable()
export class AuthenticationGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly tokens: AccessTokens,
  ) {}

  async canActivate(execution: ExecutionContext): Promise<boolean> {
    const targets = [execution.getHandler(), execution.getClass()];
    if (this.reflector.getAllAndOverride<boolean | undefined>(PUBLIC, targets)) return true;

    const request = execution.switchToHttp().getRequest<AuthenticatedRequest>();
    const token = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    const principal = token === undefined ? undefined : await this.tokens.verify(token);
    if (principal === undefined) {
      throw unauthenticated('Send "Authorization: Bearer <access token>"; POST /v1/auth/token gives you one.');
    }
    if (principal === 'invalid') {
      throw unauthenticated('The access token is invalid or has expired: get a new one from POST /v1/auth/token.');
    }
    if (principal === 'void') {
      throw unauthenticated('The access token has ended because the account was changed: sign in again.');
    }
    request.principal = principal;
    currentContext().actor = `user:${principal.userId}`;

    const needed = this.reflector.getAllAndOverride<Role[] | undefined>(ROLES, targets);
    const allowed =
      !needed || needed.some((role) => principal.roles.includes(role) || (role === 'staff' && isStaff(principal)));
    if (allowed) return true;
    throw new ProblemError(403, 'forbidden', `This is for the role ${needed.join(' or ')} only.`);
  }
}

function unauthenticated(detail: string): ProblemError {
  return new ProblemError(401, 'unauthenticated', detail, {}, { 'WWW-Authenticate': 'Bearer realm="orderloom"' });
}
