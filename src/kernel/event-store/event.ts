/** An event as a decider returns it: its stored type name beside its data. */
export interface DomainEvent {
  readonly type: string;
}

/** Why, by whom and through which command an event came to be. */
export interface EventMetadata {
  readonly correlationId: string;
  readonly causationId?: string;
  readonly actor: string;
  readonly commandId: string;
  /** What was done, where the types of the events do not say so: the type of the decider's command. */
  readonly command?: string;
  /** Hash of the client's request, if it can be repeated. */
  readonly request?: string;
  /** The span that it comes from, if somebody traces (W3C Trace Context): what follows from it continues that trace. */
  readonly traceparent?: string;
}

/** An event as it stands in the log. */
export interface StoredEvent {
  readonly id: string;
  readonly aggregateId: string;
  readonly aggregateType: string;
  readonly eventType: string;
  /** JSON as it was written, see {@link wireForm}. */
  readonly payload: Readonly<Record<string, unknown>>;
  /** When the log took it, by the database's clock. */
  readonly timestamp: Date;
  /** 1, 2, 3 … within its aggregate. */
  readonly version: number;
  /** 1, 2, 3 … within the log: without gaps and in commit order. */
  readonly position: number;
  readonly schemaVersion: number;
  readonly metadata: EventMetadata;
}

export interface Aggregate {
  readonly type: string;
  /** A UUID, unique over all aggregate types. */
  readonly id: string;
}

/** What the writer believes about the aggregate: its version, that it does not exist yet, or nothing. */
export type ExpectedVersion = number | 'noStream' | 'any';

/** A named event class hears and tells stored events of that name. */
export type EventOf<Name extends string, Data> = { readonly type: Name } & Data;

/** A stored event in the form that deciders and views fold: its type beside its data. */
export function domainEvent<E extends DomainEvent>(stored: StoredEvent): E {
  return { ...stored.payload, type: stored.eventType } as unknown as E;
}

export class EventDataError extends Error {
  override readonly name = 'EventDataError';
}

// JSON.stringify writes real pairs as they are, so an escaped surrogate is a lone one; jsonb takes neither it nor NUL.
const unstorable = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f][0-9a-f]{2})/i;

/**
 * A payload as JSON text: dates become RFC 3339, absent values are left out, text is anything but NUL and half
 * characters. Refused before it enters a batch, where it would take its neighbours down.
 *
 * @throws EventDataError for bigint (pass a string), invalid dates, non-finite numbers and integers beyond 2^53
 */
export function wireForm(payload: unknown): string {
  const json = JSON.stringify(payload, function (this: Record<string, unknown>, key, value: unknown) {
    // it has been turned into null by now
    if (value === null && this[key] instanceof Date) throw new EventDataError(`"${key}" is no date at all`);
    if (typeof value === 'bigint') throw new EventDataError(`"${key}" is a bigint: store it as a string`);
    if (typeof value !== 'number') return value;
    if (!Number.isFinite(value)) throw new EventDataError(`"${key}" is ${value}: JSON has no form for it`);
    if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
      throw new EventDataError(`"${key}" is ${value}: beyond 2^53 numbers lose digits`);
    }
    return value;
  });
  if (unstorable.test(json)) throw new EventDataError('text with a NUL or half a surrogate pair cannot be stored');
  return json;
}
