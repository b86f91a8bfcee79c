import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { Scope } from './scopes';

export type Role = 'customer' | 'staff' | 'admin';

/** Who is asking. Comes from the verified credential, never from the request's own words. */
export interface Principal {
  readonly userId: string;
  readonly roles: readonly Role[];
  /** What the credential is limited to; undefined for one that may do whatever its account may. */
  readonly scopes?: readonly Scope[];
  /** Session that the access token belongs to; undefined for other credentials. */
  readonly sessionId?: string;
  /** `user:<id>` or `api-key:<id>`, as events record it. */
  readonly actor: string;
}

export interface AuthenticatedRequest extends FastifyRequest {
  /** Whose credential came with it, or what is wrong with it. Found out before it is known whether the operation needs one. */
  identity?: Principal | Error;
  /** Who asks an operation that is not public. */
  principal?: Principal;
}

export const CurrentPrincipal = createParamDecorator((_: unknown, context: ExecutionContext): Principal => {
  const { principal } = context.switchToHttp().getRequest<AuthenticatedRequest>();
  if (!principal) throw new Error('A route that asks for the principal must not be public');
  return principal;
});

export function isStaff(principal: Pick<Principal, 'roles'>): boolean {
  return principal.roles.includes('staff') || principal.roles.includes('admin');
}
