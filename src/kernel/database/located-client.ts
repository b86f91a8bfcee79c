import { Client, type ClientConfig } from 'pg';
import { parseIntoClientConfig } from 'pg-connection-string';
import { type DatabaseHost, type DatabaseUrl, parseDatabaseUrl, placeOf } from '../../config/database-url';

type OnConnect = ((error: Error) => void) | ((error: null, client: Client) => void);

/** How long one of several servers may take to say whether it accepts writes, in ms. */
const probeMs = 3000;

/** What of a URL `pg-connection-string` interprets. The rest is ours to set, such as the name of the application. */
const tlsParameters = ['ssl', 'sslmode', 'sslcert', 'sslkey', 'sslrootcert', 'sslnegotiation', 'uselibpqcompat'];

/** SQLSTATE sqlclient_unable_to_establish_sqlconnection. */
const unableToConnect = '08001';

/** None of the servers that a URL names accepts writes. The code is that of the last failure. */
export class NoWritableServerError extends Error {
  override readonly name = 'NoWritableServerError';
  readonly code: string;

  constructor(reasons: readonly string[], code = unableToConnect) {
    super(`no server accepts writes (${reasons.join('; ')})`);
    this.code = code;
  }
}

/**
 * `pg`'s client for every URL that {@link parseDatabaseUrl} takes. Of several servers it connects to the first that accepts
 * writes, and looks anew at each connection: after a failover that is another one.
 */
export class LocatedClient extends Client {
  // not a property that a log of the client would show: it holds the password
  readonly #config: ClientConfig;
  private readonly hosts: readonly DatabaseHost[];

  /** @throws DatabaseUrlError */
  constructor({ connectionString = '', ...given }: ClientConfig = {}) {
    const url = parseDatabaseUrl(connectionString);
    const config = { ...given, ...configOf(url, given) };
    super({ ...config, ...url.hosts[0] });
    this.#config = config;
    this.hosts = url.hosts;
  }

  /** @throws NoWritableServerError when there are several servers and none will do */
  override connect(): Promise<Client>;
  override connect(callback: OnConnect): void;
  override connect(callback?: OnConnect): Promise<Client> | void {
    if (this.hosts.length < 2) return callback ? super.connect(callback) : super.connect();
    const connecting = this.locate().then(() => super.connect());
    if (!callback) return connecting;
    connecting.then(() => (callback as (error: null, client: Client) => void)(null, this), callback as () => void);
  }

  /** Asks all at once. Their order decides, not their speed: all connections have to reach the same server. */
  private async locate(): Promise<void> {
    const probes = this.hosts.map((host) => refusal({ ...this.#config, ...host, connectionTimeoutMillis: probeMs }));
    const reasons: string[] = [];
    let code: string | undefined;
    for (const [nth, { host, port = this.port }] of this.hosts.entries()) {
      const refused = await probes[nth];
      if (!refused) return void Object.assign(this, { host, port });
      reasons.push(`${placeOf({ host, port })}: ${refused.message}`);
      code = refused.code ?? code;
    }
    throw new NoWritableServerError(reasons, code);
  }
}

/** Undefined when the server accepts writes; does not throw. */
async function refusal(config: ClientConfig): Promise<{ code?: string; message: string } | undefined> {
  const client = new Client({ ...config, query_timeout: probeMs });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ read_only: boolean }>(
      `select pg_is_in_recovery() or current_setting('default_transaction_read_only')::boolean as read_only`,
    );
    return rows[0]!.read_only ? { code: '25006', message: 'it is read-only' } : undefined;
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return { code, message: message || code || 'no reason given' };
  } finally {
    client.end().catch(() => undefined);
  }
}

function configOf({ user, password, database, parameters }: DatabaseUrl, given: ClientConfig): ClientConfig {
  const options = given.options ?? parameters.get('options');
  return { user, password, database, ...tlsOf(parameters), ...(options && { options }) };
}

function tlsOf(parameters: ReadonlyMap<string, string>): Pick<ClientConfig, 'ssl' | 'sslnegotiation'> {
  const named = new Map([...parameters].filter(([name]) => tlsParameters.includes(name)));
  if (named.size === 0) return {};
  // node's own certificate authorities, which count without a file
  if (named.get('sslrootcert') === 'system') named.delete('sslrootcert');
  // `pg` means verify-full by each of these, and prints several lines about it
  if (!named.has('uselibpqcompat') && /^(prefer|require|verify-ca)$/.test(named.get('sslmode') ?? '')) {
    named.set('sslmode', 'verify-full');
  }
  const { ssl, sslnegotiation } = parseIntoClientConfig(`postgres:///?${new URLSearchParams([...named]).toString()}`);
  return { ssl, ...(sslnegotiation && { sslnegotiation }) };
}
