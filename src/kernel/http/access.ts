import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ApiExtension } from '@nestjs/swagger';
import { isStaff, type Principal, type Role } from './principal';
import type { Scope } from './scopes';

/** Who may call an operation. */
export interface Access {
  /** The least role. `anyone` need not sign in, every account is a `customer`, an `admin` may do what `staff` may. */
  readonly role: 'anyone' | Role;
  /** What a limited credential must have. Without one, the operation is for people who signed in themselves. */
  readonly scope?: Scope;
  /**
   * A customer reaches only what is their own; anything else does not exist for them (404). It is checked where the
   * resource is read, under the same version: a look-up before that would cost a round trip, and could be outdated.
   */
  readonly own?: boolean;
}

/** Key of the declaration in the metadata of a handler. */
export const ACCESS = 'http:access';

/** Its name in the OpenAPI document. */
export const accessExtension = 'x-access';

const declare = (access: Access): MethodDecorator =>
  applyDecorators(SetMetadata(ACCESS, access), ApiExtension(accessExtension, access));

/** Nobody needs to sign in. */
export const Public = () => declare({ role: 'anyone' });

/** Declares who may call an operation. Each operation needs this or {@link Public}, or the app does not start. */
export const Access = (role: Role, options: Omit<Access, 'role'> = {}) => declare({ role, ...options });

export function hasRole(principal: Principal, role: Access['role']): boolean {
  if (role === 'admin') return principal.roles.includes('admin');
  return role !== 'staff' || isStaff(principal);
}
