import type { Params } from 'nestjs-pino';
import { currentContext } from '../kernel/context';

/** JSON lines. Requests are logged when they fail or take long: logging each would cost more than serving it. */
export function loggerOptions(level: string): Params {
  return {
    pinoHttp: {
      level,
      autoLogging: false,
      quietReqLogger: true,
      base: undefined,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      mixin: () => {
        const { correlationId, actor } = currentContext();
        return actor === 'system' ? {} : { traceId: correlationId };
      },
    },
  };
}
