/**
 * In how many ms trying again makes sense, for errors that say so (`retryAfterMs`): an open circuit breaker, a full queue,
 * too many concurrent changes.
 */
export function retryAfterMs(error: unknown): number | undefined {
  const ms = (error as { retryAfterMs?: unknown } | null)?.retryAfterMs;
  return typeof ms === 'number' ? ms : undefined;
}
