/**
 * True when the server, or the connection to it, was lost. Whatever was in flight may or may not have been committed;
 * trying again later makes sense.
 */
export function isConnectionError(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  // class 08: connection exceptions; 57P01 to 57P03: the server is stopping or starting
  if (typeof code === 'string' && /^(08|57P0[1-3])|^(ECONN|EPIPE$|ETIMEDOUT$|ENOTFOUND$)/.test(code)) return true;
  return (
    typeof message === 'string' &&
    // the last is how TypeORM says that it lost the connection of a transaction
    /connection terminated|timeout exceeded when trying to connect|client has encountered a connection error|query runner (was )?already released/i.test(
      message,
    )
  );
}

/** SQLSTATE serialization_failure, deadlock_detected and lock_not_available (`lock_timeout` has run out). */
const contention = new Set<unknown>(['40001', '40P01', '55P03']);

/**
 * True when Postgres gave up on a transaction because of others that ran at the same time. It was rolled back, so it can
 * be repeated, and may well succeed then.
 */
export function isContention(error: unknown): boolean {
  return contention.has((error as { code?: unknown } | null)?.code);
}
