import {
  type Attributes,
  context,
  type Context,
  isSpanContextValid,
  type Link,
  type ProxyTracerProvider,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Tracer,
} from '@opentelemetry/api';
import { currentContext } from '../context';
import { DomainError } from '../domain-error';
import { messageOf } from '../fault';
import { formatTraceparent, parseTraceparent } from './traceparent';

export { type Span, SpanKind, SpanStatusCode } from '@opentelemetry/api';

export interface SpanDescription {
  readonly kind?: SpanKind;
  readonly attributes?: Attributes;
  /**
   * A root with links to the spans that it follows from; there is no span without any. Default: a child of the span that
   * is active, or of the context's.
   */
  readonly causes?: readonly SpanContext[];
  /** Begins with what the context says, whatever is active: an HTTP request, a delivery. */
  readonly isEntry?: boolean;
}

let tracer: Tracer | undefined;

/** Undefined while nobody collects spans. Whatever SDK the process was started with is used. */
function activeTracer(): Tracer | undefined {
  return (tracer ??= (trace.getTracerProvider() as ProxyTracerProvider).getDelegateTracer?.('orderloom'));
}

/**
 * Runs `work` within a span, which ends with it. Without an SDK there is no span, and `describe` is not called: it costs
 * a function call.
 */
export function traced<T>(
  name: string,
  describe: () => SpanDescription,
  work: (span?: Span) => Promise<T>,
): Promise<T> {
  const begun = beginSpan(name, describe);
  if (!begun) return work();
  const { span, run } = begun;
  return run(async () => work(span)).then(
    (result) => {
      span.end();
      return result;
    },
    (error: unknown) => {
      fail(span, error);
      span.end();
      throw error;
    },
  );
}

/** For what ends in another function than it began. Undefined without an SDK. */
export function beginSpan(
  name: string,
  describe: () => SpanDescription,
): { readonly span: Span; readonly run: <T>(work: () => T) => T } | undefined {
  const tracer = activeTracer();
  if (!tracer) return undefined;
  const { kind = SpanKind.INTERNAL, attributes, causes, isEntry = false } = describe();
  if (causes?.length === 0) return undefined;
  const parent = causes ? ROOT_CONTEXT : parentContext(isEntry);
  const links = causes?.map((context): Link => ({ context }));
  const span = tracer.startSpan(name, { kind, attributes, links }, parent);
  const within = trace.setSpan(parent, span);
  return { span, run: (work) => context.with(within, work) };
}

function parentContext(isEntry: boolean): Context {
  if (!isEntry && trace.getActiveSpan()) return context.active();
  const remote = parseTraceparent(currentContext().traceparent);
  return remote ? trace.setSpanContext(ROOT_CONTEXT, remote) : ROOT_CONTEXT;
}

/** A refusal is an answer: the span names it, and has not failed. */
function fail(span: Span, error: unknown): void {
  if (error instanceof DomainError) return void span.setAttribute('orderloom.refusal', error.code);
  span.setAttribute('error.type', error instanceof Error ? error.name : typeof error);
  span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(error) });
}

/**
 * The trace that the current code belongs to, as W3C Trace Context has it: for the metadata of events, and for the
 * `traceparent` header of calls to other systems. Undefined when nobody traces.
 */
export function currentTraceparent(): string | undefined {
  const active = activeSpanContext();
  return active ? formatTraceparent(active) : currentContext().traceparent;
}

export function activeSpanContext(): SpanContext | undefined {
  const active = trace.getActiveSpan()?.spanContext();
  return active && isSpanContextValid(active) ? active : undefined;
}

/** The spans that events come from, each once, without those that are not recorded. Empty without an SDK. */
export function causesOf(events: readonly { readonly metadata: { readonly traceparent?: string } }[]): SpanContext[] {
  if (!activeTracer()) return [];
  const texts = new Set(events.map(({ metadata }) => metadata.traceparent));
  return [...texts].flatMap((text) => {
    const parsed = parseTraceparent(text);
    return parsed && isSampled(parsed) ? [parsed] : [];
  });
}

export function isSampled({ traceFlags }: SpanContext): boolean {
  return (traceFlags & TraceFlags.SAMPLED) !== 0;
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Of a command or an event, what it is about: `orderId` becomes `orderloom.order.id`. Nothing but ids. */
export function idsIn(message: object): Attributes {
  const found: Attributes = {};
  for (const [name, value] of Object.entries(message)) {
    if (!name.endsWith('Id') || typeof value !== 'string' || !uuid.test(value)) continue;
    const noun = name.slice(0, -2).replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    found[`orderloom.${noun}.id`] = value;
  }
  return found;
}
