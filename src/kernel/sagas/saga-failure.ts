import { DomainError } from '../domain-error';
import { upcast } from '../event-store/upcasting';
import { retryAfterMs } from '../resilience/retry-after';
import { storableText } from '../storable';
import type { SagaFailure } from './saga';

/**
 * Failures as events record them. Events are permanent and are shown to customers, so only the text of a `DomainError` goes
 * into them: it was written to be read. Any other error may name a host, a table or a component; events have one of these
 * instead, and the log has the error itself.
 */
const neutral = {
  timeout: { code: 'timeout', message: 'No answer came in time.' },
  unavailable: { code: 'unavailable', message: 'A service that this needs is not available.' },
  other: { code: 'technical-failure', message: 'A technical problem prevented this.' },
} as const satisfies Record<string, SagaFailure>;

/** Names of errors that say more than that something failed. */
const known: Readonly<Record<string, SagaFailure>> = {
  CallTimeoutError: neutral.timeout,
  TimeLimitError: neutral.timeout,
  TimeoutError: neutral.timeout,
  BulkheadFullError: neutral.unavailable,
  CircuitBreakerOpenError: neutral.unavailable,
  ContentionError: neutral.unavailable,
  OverloadError: neutral.unavailable,
};

/** A refusal's text may quote what a third party sent: what the database cannot hold is replaced, and it ends at some point. */
export function storableFailure({ code, message }: SagaFailure): SagaFailure {
  return { code: storableText(String(code), 200), message: storableText(String(message), 2000) };
}

/** What an event may say of an error. */
export function failureOf(error: unknown): SagaFailure {
  if (error instanceof DomainError) return storableFailure(error);
  const name = error instanceof Error ? error.name : '';
  return known[name] ?? (retryAfterMs(error) === undefined ? neutral.other : neutral.unavailable);
}

/**
 * The failure of an event of schema version 1, which had the text of every error, without what was not written to be read.
 * Codes of refusals are lower case (`out-of-stock`, `card_declined`). The others were names of error classes (`TypeError`),
 * `error`, which is that of Postgres's, and `unknown`.
 */
export function withoutTechnicalText({ code, message }: SagaFailure): SagaFailure {
  const isRefusal = /^[a-z][a-z0-9]*([-_][a-z0-9]+)*$/.test(code) && code !== 'error' && code !== 'unknown';
  return isRefusal ? { code, message } : (known[code] ?? neutral.other);
}

for (const type of ['saga.step-failed', 'saga.compensation-failed', 'saga.parked', 'saga.compensated']) {
  upcast(type, (event) => ({ ...event, error: withoutTechnicalText(event['error'] as SagaFailure) }));
}
