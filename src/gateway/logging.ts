import { Logger, type Params, PinoLogger } from 'nestjs-pino';
import { PinoPretty as pretty } from 'pino-pretty';
import { type Config, logFormatOf } from '../config/config';
import { currentContext } from '../kernel/context';
import { activeSpanContext } from '../kernel/tracing/tracing';

const messageFormat = '{context}: {msg}';

/** Members that the readable form leaves out: the message says them too, or nobody misses them. */
const ignore = 'context,reqId,traceId,trace_id,span_id,principal,method,route,path,status,durationMs,bytes';

/** JSON lines or, for somebody who sits in front of it, readable ones. Requests have their lines from {@link logAccess}. */
export function loggerOptions(config: Config): Params {
  const readable = logFormatOf(config) === 'pretty';
  return {
    pinoHttp: {
      level: config.LOG_LEVEL,
      stream: readable ? pretty({ sync: true, ignore, messageFormat, translateTime: 'HH:MM:ss' }) : undefined,
      autoLogging: false,
      quietReqLogger: true,
      base: undefined,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: readable ? undefined : { level: (label) => ({ level: label }) },
      mixin: () => {
        const { correlationId, actor } = currentContext();
        return actor === 'system' ? {} : { traceId: correlationId, ...spanMembers() };
      },
    },
  };
}

/** By the names that OpenTelemetry gives them, for tools that lead from a line to its trace. */
export function spanMembers(): { trace_id: string; span_id: string } | undefined {
  const span = activeSpanContext();
  return span && { trace_id: span.traceId, span_id: span.spanId };
}

/** Nest's account of every module and route that it finds, at every start. */
const chatter = new Set<unknown>([
  'NestFactory',
  'InstanceLoader',
  'RoutesResolver',
  'RouterExplorer',
  'NestApplication',
]);

/** What they say as errors is also thrown: main says it, once. */
const alsoThrown = new Set<unknown>(['NestApplication', 'ExceptionHandler', 'TypeOrmModule']);

export class AppLogger extends Logger {
  override log(message: unknown, ...params: unknown[]): void {
    if (!chatter.has(params.at(-1))) super.log(message, ...params);
  }

  override error(message: unknown, ...params: unknown[]): void {
    if (!alsoThrown.has(params.at(-1))) super.error(message, ...params);
  }
}

/** The logger before there is an application, and for one that fails to become one. */
export function earlyLogger(params: Params): AppLogger {
  return new AppLogger(new PinoLogger(params), params);
}
