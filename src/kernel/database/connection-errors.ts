/**
 * True when the server or the way to it was lost rather than the statement refused: whatever was in flight may or may
 * not have been committed, and trying again later makes sense.
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
