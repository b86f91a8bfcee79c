/** SQLSTATE classes and codes that say something of the server or of its other clients, not of the statement. */
const trouble =
  /^(08|25|28|40|53|55|57|58)...$|^(3D000|42501)$|^(ECONN\w+|E?PIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOST\w+|ENET\w+|E[MN]FILE|ENOSPC)$/;

/** How `pg` and TypeORM say, without a code, that a connection was lost or could not be had. */
const lost =
  /connection terminated|timeout exceeded when trying to connect|timeout expired|query read timeout|is not queryable|connection ended|pool after calling end|query runner (was )?already released/i;

/**
 * True when the server, or the connection to it, was lost. Whatever was in flight may or may not have been committed;
 * trying again later makes sense.
 */
export function isConnectionError(error: unknown): boolean {
  // class 08: connection exceptions; 57P01 to 57P05: the server ends the session, stops or starts
  return some(error, ({ code, message }) => /^(08...|57P0.|E[A-Z_]+)$/.test(code) || lost.test(message));
}

/** SQLSTATE serialization_failure, deadlock_detected and lock_not_available (`lock_timeout` has run out). */
const contention = /^(40001|40P01|55P03)$/;

/**
 * True when Postgres gave up on a transaction because of others that ran at the same time. It was rolled back, so it can
 * be repeated, and may well succeed then.
 */
export function isContention(error: unknown): boolean {
  return some(error, ({ code }) => contention.test(code));
}

/**
 * True when the session is no good any more, although the server may be: what it was asked gets no answer, it is
 * read-only (and stays so when the database is writable again), it is left within a failed transaction, or the statements
 * that it has prepared are gone or outdated. A new session is needed.
 */
export function isSessionLost(error: unknown): boolean {
  return (
    isConnectionError(error) ||
    // read_only_sql_transaction, in_failed_sql_transaction, and prepared statements: missing, there already
    some(error, ({ code, message }) => /^(25006|25P0.|26000|42P05)$/.test(code) || /cached plan must not/.test(message))
  );
}

/**
 * True when the database is why something failed, and neither the request nor the data: it cannot be reached, takes no
 * connections or no writes, is full, refuses this user, or others hold what is needed. It may take any time to pass.
 */
export function isDatabaseTrouble(error: unknown): boolean {
  return isSessionLost(error) || some(error, ({ code }) => trouble.test(code));
}

/**
 * Whether it holds for the error or for what it wraps: TypeORM keeps pg's error, and ours keep their cause. Not for the
 * TypeError of a failed `fetch`: the target of that call is not the database.
 */
function some(error: unknown, holds: (error: { code: string; message: string }) => boolean): boolean {
  let current = error;
  for (let depth = 0; depth < 5 && typeof current === 'object' && current !== null; depth++) {
    if (current instanceof TypeError) return false;
    const { code, message, cause, driverError } = current as Record<string, unknown>;
    const of = {
      code: typeof code === 'string' ? code : '',
      message: typeof message === 'string' ? message : '',
    };
    if (holds(of)) return true;
    current = cause ?? driverError;
  }
  return false;
}
