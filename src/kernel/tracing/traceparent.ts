import type { SpanContext } from '@opentelemetry/api';

const form = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/**
 * A `traceparent` header (W3C Trace Context, 3.2); undefined when it is invalid, which counts as none. Later versions
 * may have more behind what is known.
 */
export function parseTraceparent(header: unknown): SpanContext | undefined {
  if (typeof header !== 'string') return undefined;
  const [, version, traceId, spanId, flags, more] = form.exec(header) ?? [];
  if (!version || version === 'ff' || (version === '00' && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId!) || /^0+$/.test(spanId!)) return undefined;
  // of the flags only "sampled" is known
  return { traceId: traceId!, spanId: spanId!, traceFlags: parseInt(flags!, 16) & 1, isRemote: true };
}

export function formatTraceparent({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-0${traceFlags & 1}`;
}

/** The id of a trace in the form of a UUID, which our ids have: the same 128 bits. */
export function correlationIdOf({ traceId }: Pick<SpanContext, 'traceId'>): string {
  return traceId.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** The reverse of {@link correlationIdOf}. */
export function traceIdOf(correlationId: string): string {
  return correlationId.replaceAll('-', '');
}
