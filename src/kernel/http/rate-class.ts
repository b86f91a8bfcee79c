import { RouteConfig } from '@nestjs/platform-fastify';

/** Which rate limit an operation counts against; `none` for probes, which must be answered whoever asks. */
export type RateClass = 'read' | 'write' | 'sign-in' | 'none';

export interface RateClassConfig {
  readonly rateClass?: RateClass;
}

/**
 * Puts an operation, or all of a controller, into a class. Without one, a GET is a `read` and anything else a `write`. In
 * the configuration of the route, where it is known before the request is read.
 */
export function RateClass(rateClass: RateClass) {
  const inClass = RouteConfig({ rateClass } satisfies RateClassConfig);
  return (target: object, key?: string, descriptor?: PropertyDescriptor): void => {
    if (key !== undefined) return void inClass(target, key, descriptor!);
    const { prototype } = target as { prototype: object };
    for (const [name, method] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
      if (typeof method.value === 'function' && name !== 'constructor') inClass(prototype, name, method);
    }
  };
}
