import { isConnectionError, isContention } from '../database/errors';
import { AggregateTypeError } from '../event-store/errors';
import { retryAfterMs } from '../resilience/retry-after';

/**
 * Why an event could not be handled, which decides how long it is retried:
 *
 * - `infrastructure`: the database was lost, or it rolled the transaction back because of others. Until it works again.
 * - `patience`: the target says when to come back, such as an open circuit breaker. For `patienceMs`.
 * - `event`: everything else. `attempts` times.
 * - `permanent`: no retry can succeed. Not at all.
 */
export type Fault = 'infrastructure' | 'patience' | 'event' | 'permanent';

/** The one place that says what an error means for the event at which it happened. */
export function faultOf(error: unknown): Fault {
  if (error instanceof AggregateTypeError) return 'permanent';
  if (retryAfterMs(error) !== undefined) return 'patience';
  return isConnectionError(error) || isContention(error) ? 'infrastructure' : 'event';
}
