import { describeDatabase } from '../../config/database-url';
import { connected } from './connected';
import { poolsTransactions } from './pooling';
import { ReadOnlyError } from './session';

/** The database answers, but cannot be used. The message is one sentence that says what to do. */
export class UnsuitableDatabaseError extends Error {
  override readonly name = 'UnsuitableDatabaseError';
}

/**
 * Finds out at the start what would fail later.
 *
 * @param setting what names the database, such as DATABASE_URL
 * @throws UnsuitableDatabaseError when it is read-only, or behind a pooler that lends sessions per transaction
 */
export async function assertSuitable(url: string, setting: string): Promise<void> {
  const readOnly = await connected(url, () => Promise.resolve()).then(
    () => false,
    (error: unknown) => {
      if (error instanceof ReadOnlyError) return true;
      throw error;
    },
  );
  if (readOnly) {
    throw new UnsuitableDatabaseError(
      `The database ${describeDatabase(url)} is read-only, as a standby is: ` +
        `name the primary in ${setting}, or end the read-only mode (default_transaction_read_only).`,
    );
  }
  if (await poolsTransactions(url)) {
    throw new UnsuitableDatabaseError(
      `The database ${describeDatabase(url)} is behind a pooler in transaction mode, where sessions are not kept: ` +
        `set pool_mode = session for it (PgBouncer), or name the server itself in ${setting}.`,
    );
  }
}
