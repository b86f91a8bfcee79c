import { isDatabaseTrouble } from './database/errors';
import { DomainError } from './domain-error';
import { EventDataError } from './event-store/event';
import { NewerSchemaError } from './event-store/upcasting';
import {
  AggregateTypeError,
  ContentionError,
  DuplicateCommandError,
  LostCauseError,
  OverloadError,
  VersionMismatch,
} from './event-store/errors';
import { retryAfterMs } from './resilience/retry-after';
import { readable } from './storable';

/**
 * Whose fault an error is. HTTP, subscriptions, sagas, retries and health all ask here.
 *
 * - `request`: it was refused, and would be again. The caller is told why.
 * - `event`: a mistake in the data or in the code that handles it. Tried a few times.
 * - `permanent`: the same, where no further try can succeed.
 * - `patience`: a target outside says when to come back, such as an open circuit breaker. For a bounded time.
 * - `infrastructure`: the database or this process cannot do its work just now. It says nothing of the request or the event,
 *   so it never counts against either: wait, for as long as it takes.
 */
export type Fault = 'request' | 'event' | 'permanent' | 'patience' | 'infrastructure';

/** Ours that say the same as the database's: others are in the way, or it takes another process than this one. */
const overload = [ContentionError, OverloadError, NewerSchemaError, LostCauseError];

export function faultOf(thrown: unknown): Fault {
  const error = readable(thrown);
  if (error instanceof DomainError || error instanceof VersionMismatch || error instanceof EventDataError) {
    return 'request';
  }
  if (error instanceof AggregateTypeError || error instanceof DuplicateCommandError) return 'permanent';
  if (overload.some((type) => error instanceof type) || isDatabaseTrouble(error)) return 'infrastructure';
  return retryAfterMs(error) === undefined ? 'event' : 'patience';
}

export function isInfrastructure(error: unknown): boolean {
  return faultOf(error) === 'infrastructure';
}

/** What was thrown, in a few words; anything can be thrown. */
export function messageOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? thrown.message : String(thrown);
  } catch {
    return 'an error that cannot be shown as text';
  }
}
