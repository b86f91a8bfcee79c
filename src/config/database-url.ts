/** Where a Postgres listens. */
export interface DatabaseHost {
  /** A name or an IP address, or the directory of a Unix socket, which begins with a slash. */
  readonly host: string;
  readonly port?: number;
}

/** A database URL, decoded. What it leaves out, `pg` takes from PGUSER, PGPASSWORD and the like. */
export interface DatabaseUrl {
  /** In the order in which they are tried; empty for the default of `pg`. */
  readonly hosts: readonly DatabaseHost[];
  readonly user?: string;
  readonly password?: string;
  readonly database?: string;
  /** The other parameters by name, such as `sslmode`. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** A database URL cannot be understood. The message continues a sentence that begins with the name of the setting. */
export class DatabaseUrlError extends Error {
  override readonly name = 'DatabaseUrlError';
}

const sslModes = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'];
/** Orderloom writes, so it passes over a server that is read-only in any case. */
const targets = ['any', 'read-write', 'primary'];

/**
 * Parses a URL as libpq does (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS), several
 * hosts and Unix sockets included, and `socket:/directory?db=name` as `pg` does.
 *
 * @throws DatabaseUrlError which never quotes a password
 */
export function parseDatabaseUrl(text: string): DatabaseUrl {
  if (/[#\s]/.test(text)) {
    throw new DatabaseUrlError('must be percent-encoded: write # as %23 and a space as %20, also in passwords');
  }
  const [, scheme, authority, path = '', query = ''] =
    /^(postgres|postgresql|socket):(?:\/\/([^/?]*))?(?:\/([^?]*))?(?:\?(.*))?$/.exec(text) ?? [];
  if (scheme === undefined || (authority === undefined && scheme !== 'socket')) {
    throw new DatabaseUrlError('must look like postgres://user:password@host:port/database');
  }
  const at = (authority ?? '').lastIndexOf('@');
  const hosts = (authority ?? '').slice(at + 1);
  // a password that contains a slash or a question mark ends the part before the path, and its @ comes after that
  if (at < 0 && (path.includes('@') || (query.includes('@') && !/^[^:]*(:\d+)?$/.test(hosts)))) {
    throw new DatabaseUrlError('must be percent-encoded: write / as %2F and ? as %3F in user names and passwords');
  }
  const parameters = parametersOf(query);
  const [, user, password] = /^([^:]*)(?::(.*))?$/s.exec((authority ?? '').slice(0, Math.max(at, 0)))!;
  const given = (name: string, part: string | undefined) =>
    parameters.get(name) || (part && decoded(part)) || undefined;
  if (scheme === 'socket') {
    const port = parameters.get('port');
    return {
      hosts: [{ host: decoded(`/${path}`).replace(/(.)\/$/, '$1'), ...(port && { port: portOf(port) }) }],
      user: given('user', user),
      password: given('password', password),
      database: given('db', undefined) ?? given('dbname', undefined),
      parameters,
    };
  }
  return {
    hosts: hostsOf(hosts, parameters),
    user: given('user', user),
    password: given('password', password),
    database: given('dbname', path),
    parameters,
  };
}

/** The URL with a certificate authority that its server must have, unless it says itself what it wants of TLS. */
export function withAuthority(text: string, file: string): string {
  const { hosts, parameters } = parseDatabaseUrl(text);
  // Postgres has no TLS on a socket
  if (hosts.every(({ host }) => host.startsWith('/'))) return text;
  if (parameters.has('sslrootcert') || /^(disable|no-verify)$/.test(parameters.get('sslmode') ?? '')) return text;
  const mode = parameters.has('sslmode') ? '' : 'sslmode=verify-full&';
  return `${text}${text.includes('?') ? '&' : '?'}${mode}sslrootcert=${encodeURIComponent(file)}`;
}

/** For messages, without the password: `orders at db-1:5432 and db-2`. */
export function describeDatabase(text: string): string {
  const { hosts, database } = parseDatabaseUrl(text);
  const places = hosts.map((each) => placeOf(each));
  return [database, places.length > 0 ? `at ${places.join(' and ')}` : undefined].filter(Boolean).join(' ');
}

/** `db-1:5432` or `[::1]:5432`. */
export function placeOf({ host, port }: DatabaseHost): string {
  const name = /^[^/].*:/.test(host) ? `[${host}]` : host;
  return port === undefined ? name : `${name}:${port}`;
}

function decoded(part: string): string {
  if (/%(?![0-9a-f]{2})/i.test(part)) {
    throw new DatabaseUrlError('has a % without two hexadecimal digits after it: write % itself as %25');
  }
  try {
    return decodeURIComponent(part);
  } catch {
    throw new DatabaseUrlError('has percent-encoded bytes that are not UTF-8');
  }
}

function parametersOf(query: string): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const pair of query.split('&').filter((each) => each !== '')) {
    const end = pair.indexOf('=');
    if (end < 1) throw new DatabaseUrlError('must have parameters of the form name=value after the ?');
    parameters.set(decoded(pair.slice(0, end)), decoded(pair.slice(end + 1)));
  }
  const oneOf = (name: string, values: readonly string[], why = '') => {
    if (values.includes(parameters.get(name) ?? values[0]!)) return;
    throw new DatabaseUrlError(`has a ${name} that is not one of ${values.join(', ')}${why}`);
  };
  oneOf('sslmode', sslModes);
  oneOf('target_session_attrs', targets, ': Orderloom needs a server that accepts writes');
  return parameters;
}

function hostsOf(list: string, parameters: ReadonlyMap<string, string>): DatabaseHost[] {
  const inPath = list === '' ? [] : list.split(',').map(hostOf);
  const named = parameters.get('host')?.split(',');
  const ports = parameters.get('port')?.split(',').map(portOf);
  const hosts = named?.map((host): DatabaseHost => ({ host })) ?? inPath;
  if (!ports) return hosts;
  if (ports.length !== 1 && ports.length !== hosts.length) {
    throw new DatabaseUrlError('must have one port, or one for each host');
  }
  if (hosts.length === 0) return [{ host: '', port: ports[0] }];
  return hosts.map(({ host }, nth) => ({ host, port: ports[ports.length === 1 ? 0 : nth] }));
}

function hostOf(text: string): DatabaseHost {
  const [, v6, name, port] = /^(?:\[([\da-f:.%]+)\]|([^:[\]]*))(?::(.*))?$/i.exec(text) ?? [];
  const host = v6 ?? (name && decoded(name));
  if (!host)
    throw new DatabaseUrlError('must name a host, or several with commas between them, each as host or host:port');
  return port ? { host, port: portOf(port) } : { host };
}

function portOf(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw new DatabaseUrlError('must have a port from 1 to 65535 after the colon of each host');
}
