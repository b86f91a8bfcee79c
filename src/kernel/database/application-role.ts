import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { type Client, escapeIdentifier, escapeLiteral } from 'pg';
import { connected } from './connected';
import { LocatedClient } from './located-client';

/** The roles of the database are not as they have to be. The message is one sentence that says what to do. */
export class DatabaseRoleError extends Error {
  override readonly name = 'DatabaseRoleError';
}

/** Who connects with a URL. */
export interface Login {
  readonly role: string;
  readonly password: string | undefined;
}

/** The defaults of `pg` included, such as PGUSER for a URL without a user. */
export function loginOf(url: string): Login {
  const { user, password } = new LocatedClient({ connectionString: url });
  return { role: user ?? '', password: typeof password === 'string' ? password : undefined };
}

export async function roleExists(client: Client, role: string): Promise<boolean> {
  const { rowCount } = await client.query('select from pg_roles where rolname = $1', [role]);
  return rowCount === 1;
}

/**
 * Creates the role that the application connects as. It may sign in and nothing else.
 *
 * @throws DatabaseRoleError when the connected role may not create roles
 */
export async function createRole(client: Client, { role, password }: Login): Promise<void> {
  const name = escapeIdentifier(role);
  const secret = password ? ` password ${escapeLiteral(scramVerifier(password))}` : '';
  try {
    await client.query(
      `create role ${name} login nosuperuser nocreatedb nocreaterole noreplication nobypassrls${secret}`,
    );
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    // created by another process at this moment
    if (code === '42710' || code === '23505') return;
    if (code !== '42501') throw error;
    throw new DatabaseRoleError(
      `The role ${name} of DATABASE_URL does not exist, and the role of DATABASE_OWNER_URL may not create it ` +
        `(${message}): run CREATE ROLE ${name} LOGIN PASSWORD '…' as an administrator.`,
    );
  }
}

export async function setPassword(client: Client, { role, password = '' }: Login): Promise<void> {
  await client.query(`alter role ${escapeIdentifier(role)} password ${escapeLiteral(scramVerifier(password))}`);
}

/** What Postgres stores of a password. Sent in its place, it keeps the password out of the server's statement log. */
function scramVerifier(password: string): string {
  const iterations = 4096;
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password.normalize('NFKC'), salt, iterations, 32, 'sha256');
  const key = (name: string) => createHmac('sha256', salted).update(name).digest();
  const stored = createHash('sha256').update(key('Client Key')).digest('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${stored}:${key('Server Key').toString('base64')}`;
}

/**
 * Connects as the application does and asks what its role may do beyond its work.
 *
 * @returns one sentence that says so and how to change it; undefined when the role cannot change the log
 * @throws DatabaseRoleError when the log is not in the database that the application uses
 */
export async function excessivePower(appUrl: string): Promise<string | undefined> {
  const [found] = await connected(appUrl, async (client) => {
    const { rows } = await client.query<{ role: string; superuser: boolean; owner: boolean }>(
      `select quote_ident(current_user) as role, r.rolsuper as superuser, pg_has_role(c.relowner, 'MEMBER') as owner
       from pg_roles r, pg_class c join pg_namespace n on n.oid = c.relnamespace
       where r.rolname = current_user and n.nspname = 'event_store' and c.relname = 'events'`,
    );
    return rows;
  });
  if (!found) {
    throw new DatabaseRoleError('DATABASE_URL and DATABASE_OWNER_URL lead to different databases: name the same one.');
  }
  if (!found.superuser && !found.owner) return undefined;
  return (
    `The application connects as ${found.role}, which ${found.superuser ? 'is a superuser' : 'owns its tables'} ` +
    'and could change the log. To separate them, move this URL to DATABASE_OWNER_URL and name another role in DATABASE_URL.'
  );
}
