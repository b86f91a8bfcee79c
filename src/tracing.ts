import { setTimeout as delay } from 'node:timers/promises';
import { type Context, context, diag, DiagLogLevel, type Link, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import {
  detectResources,
  envDetector,
  resourceFromAttributes,
  serviceInstanceIdDetector,
} from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BasicTracerProvider,
  BatchSpanProcessor,
  ParentBasedSampler,
  RandomIdGenerator,
  type Sampler,
  SamplingDecision,
  type SpanExporter,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-base';
import type { Config } from './config/config';
import { currentContext } from './kernel/context';
import { isSampled } from './kernel/tracing/tracing';
import { traceIdOf } from './kernel/tracing/traceparent';

/** For the spans that are still there at a shutdown, in ms: a collector that is away must not delay it. */
const farewellMs = 2000;

/**
 * Collects the kernel's spans and sends them to `OTEL_EXPORTER_OTLP_ENDPOINT`, by the rules of the variables that
 * OpenTelemetry has for that. They wait in a queue of bounded length; what does not fit is dropped.
 */
export function startTracing(config: Config, warn: (line: string) => void): { stop(): Promise<void> } {
  // the SDK tells of each batch that it drops: the first time says it all
  let hasDropped = false;
  const dropped = (line: string) => {
    if (!hasDropped) warn(`Tracing: ${line}`);
    hasDropped = true;
  };
  const quiet = () => undefined;
  diag.setLogger({ error: quiet, warn: dropped, info: quiet, debug: quiet, verbose: quiet }, DiagLogLevel.WARN);
  const ids = new RandomIdGenerator();
  const provider = new BasicTracerProvider({
    sampler: new WithItsCauses(samplerOf(config)),
    idGenerator: {
      // what is in the logs and in the metadata of events finds the trace as well
      generateTraceId: () => traceIdOf(currentContext().correlationId),
      generateSpanId: () => ids.generateSpanId(),
    },
    resource: resourceFromAttributes({ 'service.name': config.OTEL_SERVICE_NAME }).merge(
      detectResources({ detectors: [serviceInstanceIdDetector, envDetector] }),
    ),
    spanProcessors: [new BatchSpanProcessor(reporting(new OTLPTraceExporter(), warn))],
  });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(provider);
  return {
    stop: async () => {
      const flushed = provider.shutdown().catch(() => undefined);
      await Promise.race([flushed, delay(farewellMs, undefined, { ref: false })]);
    },
  };
}

function samplerOf({ OTEL_TRACES_SAMPLER: name, OTEL_TRACES_SAMPLER_ARG: ratio }: Config): Sampler {
  const roots = {
    always_on: () => new AlwaysOnSampler(),
    always_off: () => new AlwaysOffSampler(),
    traceidratio: () => new TraceIdRatioBasedSampler(ratio),
  };
  const root = roots[name.replace('parentbased_', '') as keyof typeof roots]();
  return name.startsWith('parentbased_') ? new ParentBasedSampler({ root }) : root;
}

/** A root with links, such as a batch, is recorded exactly when one of the spans that it follows from is. */
class WithItsCauses implements Sampler {
  constructor(private readonly sampler: Sampler) {}

  shouldSample(...args: Parameters<Sampler['shouldSample']>) {
    const [parent, , , , , links] = args as [Context, unknown, unknown, unknown, unknown, Link[]];
    if (links.length === 0 || trace.getSpan(parent)) return this.sampler.shouldSample(...args);
    const isWanted = links.some((link) => isSampled(link.context));
    return { decision: isWanted ? SamplingDecision.RECORD_AND_SAMPLED : SamplingDecision.NOT_RECORD };
  }

  toString(): string {
    return `WithItsCauses{${this.sampler.toString()}}`;
  }
}

/** Says once that the collector cannot be reached, and once that it can again. */
function reporting(exporter: SpanExporter, warn: (line: string) => void): SpanExporter {
  let isFailing = false;
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        if (result.error && !isFailing)
          warn(`Tracing: spans are dropped, they cannot be sent: ${result.error.message}`);
        if (!result.error && isFailing) warn('Tracing: spans can be sent again');
        isFailing = result.error !== undefined;
        done(result);
      }),
    forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
    shutdown: () => exporter.shutdown(),
  };
}
