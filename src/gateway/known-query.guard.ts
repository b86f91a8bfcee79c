import { type CanActivate, type ExecutionContext, Injectable, type Type } from '@nestjs/common';
import { ROUTE_ARGS_METADATA } from '@nestjs/common/constants.js';
import { RouteParamtypes } from '@nestjs/common/enums/route-paramtypes.enum.js';
import { getMetadataStorage } from 'class-validator';
import type { FastifyRequest } from 'fastify';
import type { ProblemDetail } from '../kernel/http/problem';
import { ProblemError } from '../kernel/http/problem';

/**
 * Refuses query parameters that the operation does not declare, for every operation, also those that take none. A client
 * that misspells a filter is not answered with everything, and a request has one address: see the idempotency key's scope.
 */
@Injectable()
export class KnownQueryGuard implements CanActivate {
  private readonly known = new WeakMap<object, ReadonlySet<string>>();

  canActivate(execution: ExecutionContext): boolean {
    const given = Object.keys(execution.switchToHttp().getRequest<FastifyRequest>().query ?? {});
    if (given.length === 0) return true;
    const known = this.knownOf(execution.getClass(), execution.getHandler());
    const what = known.size === 0 ? 'the operation takes none' : `the operation takes ${[...known].join(', ')}`;
    const errors = given
      .filter((name) => !known.has(name))
      .map((name): ProblemDetail => {
        const pointer = `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
        return { pointer, message: `query parameter ${name} should not exist: ${what}` };
      });
    if (errors.length === 0) return true;
    throw new ProblemError(400, 'validation', `${errors[0]!.message}.`.replace('query', 'Query'), { errors });
  }

  private knownOf(controller: Type, handler: object & { readonly name: string }): ReadonlySet<string> {
    const found = this.known.get(handler) ?? declaredQuery(controller, handler.name);
    this.known.set(handler, found);
    return found;
  }
}

/** Members of the classes of a handler's `@Query()` parameters. */
function declaredQuery(controller: Type, handler: string): ReadonlySet<string> {
  const declared = (Reflect.getMetadata(ROUTE_ARGS_METADATA, controller, handler) ?? {}) as Record<
    string,
    { readonly index: number; readonly data?: unknown }
  >;
  const types = (Reflect.getMetadata('design:paramtypes', controller.prototype as object, handler) ?? []) as Type[];
  const names = Object.entries(declared)
    .filter(([kind]) => kind.startsWith(`${RouteParamtypes.QUERY}:`))
    .flatMap(([, { index, data }]) => (typeof data === 'string' ? [data] : membersOf(types[index]!)));
  return new Set(names);
}

function membersOf(type: Type): string[] {
  return getMetadataStorage()
    .getTargetValidationMetadatas(type, '', false, false)
    .map(({ propertyName }) => propertyName);
}
