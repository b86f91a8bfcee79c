import { createParamDecorator, type ExecutionContext, SetMetadata } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

export type Role = 'customer' | 'staff' | 'admin';

/** Who is asking. Comes from the verified token, never from the request's own words. */
export interface Principal {
  readonly userId: string;
  readonly roles: readonly Role[];
}

export type AuthenticatedRequest = FastifyRequest & { principal?: Principal };

export const PUBLIC = 'http:public';
export const ROLES = 'http:roles';

/** No sign-in needed. */
export const Public = () => SetMetadata(PUBLIC, true);

/** Only for these; an admin may do what staff may. */
export const Roles = (...roles: Role[]) => SetMetadata(ROLES, roles);

export const CurrentPrincipal = createParamDecorator((_: unknown, context: ExecutionContext): Principal => {
  const { principal } = context.switchToHttp().getRequest<AuthenticatedRequest>();
  if (!principal) throw new Error('A route that asks for the principal must not be public');
  return principal;
});

export function isStaff(principal: Principal): boolean {
  return principal.roles.includes('staff') || principal.roles.includes('admin');
}
