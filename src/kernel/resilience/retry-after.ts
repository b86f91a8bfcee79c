/**
 * In how many ms trying again makes sense, for errors that say so (`retryAfterMs`): an open circuit breaker, a full queue,
 * too many concurrent changes.
 */
export function retryAfterMs(error: unknown): number | undefined {
  try {
    const ms = (error as { retryAfterMs?: unknown } | null | undefined)?.retryAfterMs;
    return typeof ms === 'number' ? ms : undefined;
  } catch {
    // anything can be thrown, also what cannot be read
    return undefined;
  }
}
