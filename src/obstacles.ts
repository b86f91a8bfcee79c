import { type Config, ConfigError } from './config/config';
import { DatabaseRoleError } from './kernel/database/application-role';
import { EmbeddedPostgresError } from './kernel/database/embedded-postgres';
import { MigrationError } from './kernel/database/migrate';
import { databaseObstacle } from './kernel/database/obstacle';
import { UnsuitableDatabaseError } from './kernel/database/suitable';
import { ReplicaError } from './replicas/replica-error';
import { ShutdownError } from './shutdown';

const explained = [
  ConfigError,
  EmbeddedPostgresError,
  DatabaseRoleError,
  MigrationError,
  UnsuitableDatabaseError,
  ReplicaError,
  ShutdownError,
];

/** The database that was in use when an error came. */
export interface DatabaseInUse {
  /** The setting that names it. */
  readonly setting: 'DATABASE_URL' | 'DATABASE_OWNER_URL';
  readonly url: string;
}

/**
 * Something outside of us is in the way: one sentence that says what to do, to which no stack would add. Undefined for an
 * error that has no such explanation.
 */
export function obstacleOf(error: unknown, config?: Config, database?: DatabaseInUse): string | undefined {
  if (explained.some((type) => error instanceof type)) return (error as Error).message;
  const { code, message, syscall } = (error ?? {}) as { code?: unknown; message?: string; syscall?: unknown };
  if (code === 'EADDRINUSE') {
    return `Port ${config?.PORT} is in use: stop what listens there, or choose another one with PORT.`;
  }
  if (code === 'EADDRNOTAVAIL' || (syscall === 'getaddrinfo' && !database)) {
    return `This machine has no address ${config?.HOST} to listen on: choose another HOST (0.0.0.0 for all).`;
  }
  if (code === 'EACCES' && !database) return `${message}: choose a PORT above 1023 or another DATA_DIR.`;
  return database && databaseObstacle(error, database.url, database.setting);
}
