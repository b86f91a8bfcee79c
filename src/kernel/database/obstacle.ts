import { describeDatabase } from '../../config/database-url';
import { defaultPools, sessionsOf } from './database';

/** What to do about an error, by its SQLSTATE or the code of Node; `$` stands for the name of the setting. */
const advice: readonly (readonly [RegExp, string])[] = [
  [/^FILE$/, 'Correct the name of that file in $ or in DATABASE_CA_FILE.'],
  [/^ECONNREFUSED|^ENOENT/, 'Start the server, or correct host and port in $.'],
  [/^EACCES$|^EPERM$/, 'Let the user of this process connect to that socket, or correct $.'],
  [/^ENOTFOUND|^EAI_/, 'Correct the host in $.'],
  [/^28P01$|^SASL$/, 'Correct user and password in $; characters such as # % / @ are percent-encoded there.'],
  [/^28/, 'Correct the user in $, or let it in with an entry in pg_hba.conf.'],
  [/^3D000$/, 'Create it with CREATE DATABASE, or correct its name in $.'],
  [/^42501$/, 'Set DATABASE_OWNER_URL to the role that owns the tables: it migrates and grants the rights.'],
  [/^25006$/, 'It is a standby or was set to read-only: name the primary in $, or end the read-only mode.'],
  [
    /^53300$/,
    `End other sessions or raise max_connections: one process of Orderloom needs up to ${sessionsOf(defaultPools)}, and fewer with smaller pools (DATABASE_POOL_READS and the like).`,
  ],
  [/^53/, 'Give the server more room.'],
  [/^57P0/, 'The server is starting or stopping: try again in a moment.'],
  [/^55P03$|^40P01$/, 'Another session keeps what has to be migrated: end its transaction and start again.'],
  [
    /SELF_SIGNED|UNABLE_TO_|^CERT_/,
    'Name the file of its certificate authority with DATABASE_CA_FILE or with sslrootcert=FILE in $, or use sslmode=no-verify, which encrypts without knowing the server.',
  ],
  [/^ERR_TLS_CERT_ALTNAME/, 'Use the host name of its certificate in $.'],
  [/^NO_TLS$/, 'Turn on ssl in the settings of the server, or use sslmode=disable in $.'],
  [/^(08|EPROTO|ERR_SSL|ERR_TLS|ECONN|EHOST|ENET|EPIPE|ETIMEDOUT|LOST)/, 'Check $.'],
];

/** Errors of `pg` that have no code, by their message. */
const codeless: readonly (readonly [RegExp, string])[] = [
  [/SASL|password must be a string/, 'SASL'],
  [/does not support SSL/, 'NO_TLS'],
  [/timeout|connection terminated|SSL connection/i, 'LOST'],
];

/**
 * One line about why a database cannot be used, and what to do; undefined for an error that is not of that kind.
 *
 * @param setting what names the database, such as DATABASE_URL
 */
export function databaseObstacle(error: unknown, url: string, setting: string): string | undefined {
  const { code, message } = plain(error);
  // a certificate that the URL names
  const file = (error as { syscall?: unknown } | undefined)?.syscall === 'open' ? 'FILE' : undefined;
  const name = file ?? code ?? codeless.find(([pattern]) => pattern.test(message))?.[1];
  const found = name && advice.find(([pattern]) => pattern.test(name));
  if (!found) return undefined;
  const reason = message.replace(/\s*\n\s*/g, ' ').replace(/\.$/, '');
  return `Cannot use the database ${describeDatabase(url)}: ${reason}. ${found[1].replaceAll('$', setting)}`;
}

/** Node tries all addresses of a name, and its error for them has no message. */
function plain(error: unknown): { code?: string; message: string } {
  const { code, message, errors } = (error ?? {}) as { code?: unknown; message?: string; errors?: unknown[] };
  return {
    code: typeof code === 'string' ? code : undefined,
    message: message || (errors ?? []).map((each) => (each as Error).message).join(', ') || String(code),
  };
}
