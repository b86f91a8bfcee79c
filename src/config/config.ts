import 'reflect-metadata';
import { RequestLimit } from './request-limit';
import { weaknessOf } from './secret-strength';
import { Setting, settings } from './setting';
import { withAuthority } from './database-url';
import {
  databaseUrl,
  email,
  flag,
  httpUrl,
  issuer,
  networks,
  oneOf,
  origin,
  origins,
  ratio,
  requestLimit,
  roleMapping,
  signingKey,
  text,
  token,
  wholeNumber,
} from './setting-value';

/** By OpenTelemetry's names. */
const samplers = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

export type LogFormat = 'json' | 'pretty';

/** Everything that the environment can set. */
export class Config {
  @Setting(
    'Application',
    oneOf('development', 'test', 'production'),
    'In production, logs are JSON, weak secrets are refused, and documentation and metrics are off unless asked for.',
    { common: true },
  )
  readonly NODE_ENV: 'development' | 'test' | 'production' = 'development';

  @Setting('Application', text(1, 1000), 'Directory of the embedded Postgres and of generated secrets.', {
    common: true,
  })
  readonly DATA_DIR: string = 'data';

  @Setting('Application', flag, 'A demonstration catalogue for an empty database.', {
    otherwise: 'true with the embedded Postgres, otherwise false',
    example: 'true',
  })
  readonly DEMO_DATA?: boolean;

  @Setting(
    'Application',
    wholeNumber(1, 3600, 'seconds'),
    'Time for requests and handlers in flight to finish at a shutdown. After it, the process exits with code 1.',
  )
  readonly SHUTDOWN_TIMEOUT: number = 20;

  @Setting(
    'Application',
    wholeNumber(0, 600, 'seconds'),
    'Time before a shutdown in which requests are still served, but /health/ready is 503, so that load balancers send no ' +
      'more of them. SHUTDOWN_TIMEOUT begins after it.',
  )
  readonly SHUTDOWN_DELAY: number = 0;

  @Setting('Database', databaseUrl, 'The Postgres database to use.', {
    details:
      'Special characters in passwords are percent-encoded: # % / ? @ as %23 %25 %2F %3F %40. ' +
      'Several servers, of which the first that accepts writes is used: ' +
      'postgres://user:password@host1:5432,host2:5432/database. ' +
      'A Unix socket: postgres://user:password@/database?host=/var/run/postgresql. ' +
      'PgBouncer works in session mode only.',
    otherwise: 'a Postgres that Orderloom runs itself, in DATA_DIR',
    example: 'postgres://orderloom:password@localhost:5432/orderloom',
    secret: true,
    common: true,
  })
  readonly DATABASE_URL?: string;

  @Setting(
    'Database',
    databaseUrl,
    'The same database as the role that owns its tables, for migrations. The role of DATABASE_URL is created if it does ' +
      'not exist.',
    {
      otherwise: 'DATABASE_URL',
      example: 'postgres://owner:password@localhost:5432/orderloom',
      secret: true,
    },
  )
  readonly DATABASE_OWNER_URL?: string;

  @Setting(
    'Database',
    text(1, 1000, 'the path of a file in PEM format'),
    'Certificate authority of the Postgres server. Its certificate is then verified, with its host name.',
    {
      details:
        'The same as sslmode=verify-full and sslrootcert=FILE in DATABASE_URL and DATABASE_OWNER_URL, which take precedence.',
      otherwise: 'none, so TLS is as sslmode in DATABASE_URL says',
      example: '/etc/ssl/certs/postgres-ca.pem',
    },
  )
  readonly DATABASE_CA_FILE?: string;

  @Setting('Database', wholeNumber(3, 200), 'Connections of one process for reads of the log and of views.', {
    details: 'A process has up to 7 connections beside its three pools, so 37 with the default sizes.',
  })
  readonly DATABASE_POOL_READS: number = 8;

  @Setting(
    'Database',
    wholeNumber(3, 200),
    'Connections of one process for building views and for idempotency keys, whose commits do not wait for the disk.',
  )
  readonly DATABASE_POOL_VIEWS: number = 12;

  @Setting(
    'Database',
    wholeNumber(3, 200),
    'Connections of one process for users, products and shipments, which are kept in rows.',
  )
  readonly DATABASE_POOL_ROWS: number = 10;

  @Setting('HTTP server', text(1, 255, 'an address of this machine'), 'Address to listen on; 0.0.0.0 for all.', {
    common: true,
  })
  readonly HOST: string = '127.0.0.1';

  @Setting('HTTP server', wholeNumber(0, 65_535), 'Port to listen on; 0 for any that is free.', { common: true })
  readonly PORT: number = 3000;

  @Setting('HTTP server', wholeNumber(1, 1_000_000), 'Connections that may be open at once; more are refused.')
  readonly MAX_CONNECTIONS: number = 2000;

  @Setting('HTTP server', wholeNumber(1, 3600, 'seconds'), 'Time for a request to arrive in full.')
  readonly REQUEST_TIMEOUT_SECONDS: number = 30;

  @Setting('HTTP server', wholeNumber(1024, 16_777_216, 'bytes'), 'Size of a request body; a larger one is refused.')
  readonly MAX_BODY_BYTES: number = 1_048_576;

  @Setting(
    'HTTP server',
    networks,
    'Your reverse proxies. X-Forwarded-For and X-Forwarded-Proto are ignored from anyone else.',
    { otherwise: 'none', example: '10.0.0.0/8', common: true },
  )
  readonly TRUSTED_PROXIES?: string[];

  @Setting(
    'HTTP server',
    origins,
    'Web sites whose scripts may call the API in a browser (CORS). Clients outside of browsers need no entry.',
    { otherwise: 'none', example: 'https://shop.example.com', common: true },
  )
  readonly CORS_ORIGINS?: string[];

  @Setting('HTTP server', origin, 'The address of the API as its clients know it.', {
    otherwise: 'that of each request',
    example: 'https://shop.example.com',
  })
  readonly PUBLIC_URL?: string;

  @Setting('HTTP server', flag, 'Swagger UI at /docs.', {
    otherwise: 'true, but false in production',
    example: 'true',
    common: true,
  })
  readonly DOCS?: boolean;

  @Setting('Sign-in', email, 'The administrator that is created when there is none.')
  readonly ADMIN_EMAIL: string = 'admin@orderloom.local';

  @Setting('Sign-in', text(12, 200), 'Password of the administrator that is created when there is none.', {
    otherwise: 'random, printed once by the first start',
    secret: true,
    common: true,
  })
  readonly ADMIN_PASSWORD?: string;

  @Setting('Sign-in', signingKey(weaknessOf), 'Signs access tokens. All replicas need the same one.', {
    otherwise: 'random, kept in DATA_DIR',
    secret: true,
    common: true,
  })
  readonly JWT_SECRET?: string;

  @Setting('Sign-in', wholeNumber(60, 86_400, 'seconds'), 'Lifetime of an access token.', {
    details: 'A refresh token gets the next one.',
  })
  readonly ACCESS_TOKEN_SECONDS: number = 900;

  @Setting('Sign-in', wholeNumber(1, 3650, 'days'), 'Time after which a session ends, however much it is used.')
  readonly REFRESH_TOKEN_DAYS: number = 30;

  @Setting('Sign-in', wholeNumber(1, 3650, 'days'), 'Time after which a session ends that is not used.')
  readonly REFRESH_TOKEN_IDLE_DAYS: number = 14;

  @Setting('Sign-in', wholeNumber(1, 10_000), 'Sessions that an account may have at a time.', {
    details: 'A further sign-in ends the one that was not used for the longest time.',
  })
  readonly SESSIONS_PER_ACCOUNT: number = 100;

  @Setting(
    'Sign-in',
    wholeNumber(1, 1_000_000),
    'Failed sign-ins within 15 minutes after which an account refuses more.',
  )
  readonly SIGN_IN_FAILURES_PER_ACCOUNT: number = 10;

  @Setting(
    'Sign-in',
    wholeNumber(1, 1_000_000),
    'Failed sign-ins within 15 minutes after which an IP address is refused more.',
  )
  readonly SIGN_IN_FAILURES_PER_ADDRESS: number = 100;

  @Setting('Sign-in', issuer, 'Identity provider (OpenID Connect) whose access tokens are accepted as well.', {
    details: 'It must be written exactly as the provider does, with or without a slash at the end.',
    otherwise: 'none',
    example: 'https://login.example.com/realms/shop',
    common: true,
  })
  readonly OIDC_ISSUER?: string;

  @Setting('Sign-in', text(1, 1000), 'The audience (aud) of access tokens that are for this API.', {
    otherwise: 'none; required with OIDC_ISSUER',
    example: 'https://shop.example.com',
    common: true,
  })
  readonly OIDC_AUDIENCE?: string;

  @Setting('Sign-in', text(1, 1000), 'Claim of the access token that holds roles or groups, as a dotted path.', {
    example: 'realm_access.roles',
  })
  readonly OIDC_ROLES_CLAIM: string = 'roles';

  @Setting(
    'Sign-in',
    roleMapping,
    'What the roles or groups in OIDC_ROLES_CLAIM may do here. All others are customers.',
    {
      details:
        'With it, the provider decides about roles; they cannot be changed here for accounts that sign in there.',
      otherwise: 'none, so administrators assign roles here',
      example: 'shop-admin=admin,shop-staff=staff',
    },
  )
  readonly OIDC_ROLES?: (readonly [name: string, role: 'staff' | 'admin'])[];

  @Setting('Sign-in', text(1, 1000), 'Client id with which Swagger UI signs in at the identity provider.', {
    otherwise: 'none, so it has to be typed in',
    example: 'orderloom-docs',
  })
  readonly OIDC_SWAGGER_CLIENT_ID?: string;

  @Setting('Payments and shipping', oneOf('sandbox'), 'Payment provider. The sandbox moves no money.', {
    otherwise: 'sandbox, but in production it must be set',
    example: 'sandbox',
    common: true,
  })
  readonly PAYMENT_PROVIDER?: 'sandbox';

  @Setting(
    'Payments and shipping',
    wholeNumber(100, 10_000, 'milliseconds'),
    'Time for one attempt to call the payment provider.',
  )
  readonly PAYMENT_PROVIDER_TIMEOUT_MS: number = 5000;

  @Setting(
    'Payments and shipping',
    wholeNumber(0, 4),
    'Further attempts at once when a call to the payment provider fails.',
  )
  readonly PAYMENT_PROVIDER_RETRIES: number = 2;

  @Setting('Payments and shipping', wholeNumber(1, 1000), 'Calls to the payment provider at a time, in one process.')
  readonly PAYMENT_PROVIDER_CONCURRENCY: number = 64;

  @Setting(
    'Payments and shipping',
    wholeNumber(1, 1000),
    'Failures in a row after which the payment provider is taken to be down and not called.',
  )
  readonly PAYMENT_PROVIDER_BREAKER_FAILURES: number = 5;

  @Setting(
    'Payments and shipping',
    wholeNumber(1, 3600, 'seconds'),
    'Time after which a payment provider that was down is tried again.',
  )
  readonly PAYMENT_PROVIDER_BREAKER_SECONDS: number = 30;

  @Setting(
    'Payments and shipping',
    wholeNumber(100, 10_000, 'milliseconds'),
    'Time for one attempt to call the carrier.',
  )
  readonly CARRIER_TIMEOUT_MS: number = 5000;

  @Setting('Payments and shipping', wholeNumber(0, 4), 'Further attempts at once when a call to the carrier fails.')
  readonly CARRIER_RETRIES: number = 2;

  @Setting('Payments and shipping', wholeNumber(1, 1000), 'Calls to the carrier at a time, in one process.')
  readonly CARRIER_CONCURRENCY: number = 64;

  @Setting(
    'Payments and shipping',
    wholeNumber(1, 1000),
    'Failures in a row after which the carrier is taken to be down and not called.',
  )
  readonly CARRIER_BREAKER_FAILURES: number = 5;

  @Setting(
    'Payments and shipping',
    wholeNumber(1, 3600, 'seconds'),
    'Time after which a carrier that was down is tried again.',
  )
  readonly CARRIER_BREAKER_SECONDS: number = 30;

  @Setting(
    'Retention',
    wholeNumber(1, 8760, 'hours'),
    'Time that the response to an Idempotency-Key is kept, to be repeated to the same request.',
  )
  readonly IDEMPOTENCY_KEY_HOURS: number = 48;

  @Setting(
    'Rate limits',
    requestLimit,
    'Requests that read, for each account, and for each IP address that is not signed in.',
    { details: 'All replicas count together. Beyond it, requests are answered with 429 until the seconds are over.' },
  )
  readonly RATE_LIMIT_READ: RequestLimit | 'off' = new RequestLimit(60_000, 60);

  @Setting('Rate limits', requestLimit, 'Requests that change something, likewise.')
  readonly RATE_LIMIT_WRITE: RequestLimit | 'off' = new RequestLimit(30_000, 60);

  @Setting('Rate limits', requestLimit, 'Requests under /v1/auth, such as sign-ins, for each IP address.')
  readonly RATE_LIMIT_SIGN_IN: RequestLimit | 'off' = new RequestLimit(600, 60);

  @Setting(
    'Logs and metrics',
    oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'),
    'Messages below this level are not logged.',
  )
  readonly LOG_LEVEL: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent' = 'info';

  @Setting('Logs and metrics', oneOf('json', 'pretty'), 'One line of JSON for each message, or text for people.', {
    otherwise: 'pretty, but json in production',
    example: 'json',
  })
  readonly LOG_FORMAT?: LogFormat;

  @Setting(
    'Logs and metrics',
    oneOf('all', 'problems', 'off'),
    'Requests that get a line in the log; the problems are those that took more than a second or failed with a 5xx, except 503.',
    { otherwise: 'problems, but all in production', example: 'all' },
  )
  readonly ACCESS_LOG?: 'all' | 'problems' | 'off';

  @Setting('Logs and metrics', flag, 'Prometheus metrics at /metrics.', {
    otherwise: 'true, but in production only with METRICS_TOKEN',
    example: 'true',
  })
  readonly METRICS?: boolean;

  @Setting('Logs and metrics', token, 'Bearer token that /metrics asks for.', {
    otherwise: 'none, so anyone who reaches the port may read them',
    secret: true,
  })
  readonly METRICS_TOKEN?: string;

  @Setting('Traces', httpUrl, 'OpenTelemetry collector that spans are sent to, as JSON over HTTP.', {
    details:
      'The variables that OpenTelemetry has for exporters and batches count too, such as OTEL_EXPORTER_OTLP_HEADERS, ' +
      'OTEL_EXPORTER_OTLP_TIMEOUT and OTEL_BSP_MAX_QUEUE_SIZE.',
    otherwise: 'none, so nothing is recorded',
    example: 'http://localhost:4318',
    common: true,
  })
  readonly OTEL_EXPORTER_OTLP_ENDPOINT?: string;

  @Setting('Traces', text(1, 255), 'Name of this service in traces.')
  readonly OTEL_SERVICE_NAME: string = 'orderloom';

  @Setting(
    'Traces',
    oneOf(...samplers),
    'Which traces are recorded. With parentbased, the traceparent header of a request decides, if it has one.',
  )
  readonly OTEL_TRACES_SAMPLER: (typeof samplers)[number] = 'parentbased_always_on';

  @Setting('Traces', ratio, 'Share of the traces that the samplers with traceidratio record.')
  readonly OTEL_TRACES_SAMPLER_ARG: number = 1;
}

/** A setting is missing or makes no sense; the message says which and what it should be. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** @throws ConfigError with everything that is wrong */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const { name, value, secret } of settings()) {
    const text = env[name];
    // an empty variable is how shells and compose files say "not set"
    if (!text) continue;
    try {
      values[name] = value.read(text);
    } catch (error) {
      problems.push(`${name} ${(error as Error).message}${secret ? '' : `, not ${JSON.stringify(text)}`}`);
    }
  }
  const config = Object.assign(new Config(), values);
  if (problems.length === 0) problems.push(...conflictsOf(config));
  if (problems.length > 0) throw new ConfigError(`Configuration: ${problems.join('; ')}`);
  return Object.assign(config, databaseUrlsOf(config));
}

/** With the certificate authority, wherever they are used. */
function databaseUrlsOf({ DATABASE_URL, DATABASE_OWNER_URL, DATABASE_CA_FILE }: Config): Partial<Config> {
  if (!DATABASE_CA_FILE || !DATABASE_URL) return {};
  const [url, ownerUrl] = [DATABASE_URL, DATABASE_OWNER_URL].map(
    (each) => each && withAuthority(each, DATABASE_CA_FILE),
  );
  return { DATABASE_URL: url, DATABASE_OWNER_URL: ownerUrl };
}

/** What the policy of a service outside takes from the settings that begin with its name. */
export function callsTo(service: 'PAYMENT_PROVIDER' | 'CARRIER', config: Config) {
  return {
    timeoutMs: config[`${service}_TIMEOUT_MS`],
    retries: config[`${service}_RETRIES`],
    maxConcurrent: config[`${service}_CONCURRENCY`],
    breaker: {
      failureThreshold: config[`${service}_BREAKER_FAILURES`],
      timeout: config[`${service}_BREAKER_SECONDS`] * 1000,
    },
  };
}

/** Of a configuration, or of the environment: what is wrong with the configuration is said in the same form. */
export function logFormatOf({ NODE_ENV, LOG_FORMAT }: { NODE_ENV?: string; LOG_FORMAT?: string }): LogFormat {
  if (LOG_FORMAT) return LOG_FORMAT === 'json' ? 'json' : 'pretty';
  return NODE_ENV === 'production' ? 'json' : 'pretty';
}

/** What is wrong although each setting is right by itself. */
function conflictsOf(config: Config): string[] {
  const { NODE_ENV, DATABASE_URL, DATABASE_OWNER_URL, DATABASE_CA_FILE, JWT_SECRET } = config;
  const { OIDC_ISSUER, OIDC_AUDIENCE, PAYMENT_PROVIDER } = config;
  const conflicts: string[] = [];
  if (DATABASE_CA_FILE && !DATABASE_URL) {
    conflicts.push('DATABASE_CA_FILE needs DATABASE_URL: the Postgres that Orderloom runs itself has no TLS');
  }
  if (DATABASE_OWNER_URL && !DATABASE_URL) {
    conflicts.push('DATABASE_OWNER_URL needs DATABASE_URL, which the application uses once the migrations have run');
  }
  if (NODE_ENV === 'production' && DATABASE_URL && !JWT_SECRET) {
    conflicts.push(
      'JWT_SECRET must be set in production with DATABASE_URL, so that all replicas share it: openssl rand -hex 32',
    );
  }
  if (OIDC_ISSUER && !OIDC_AUDIENCE) {
    conflicts.push(
      'OIDC_ISSUER needs OIDC_AUDIENCE: without it, tokens that the provider issues for other applications would count',
    );
  }
  for (const name of ['OIDC_AUDIENCE', 'OIDC_ROLES', 'OIDC_SWAGGER_CLIENT_ID'] as const) {
    if (config[name] !== undefined && !OIDC_ISSUER) conflicts.push(`${name} needs OIDC_ISSUER`);
  }
  if (NODE_ENV === 'production' && OIDC_ISSUER && isInsecure(new URL(OIDC_ISSUER))) {
    conflicts.push(
      'OIDC_ISSUER must begin with https:// in production: its keys could be replaced on the way otherwise',
    );
  }
  if (NODE_ENV === 'production' && !PAYMENT_PROVIDER) {
    conflicts.push(
      'PAYMENT_PROVIDER must be set in production, where the sandbox is not taken by itself because it moves no money: ' +
        'set PAYMENT_PROVIDER=sandbox to use it nevertheless',
    );
  }
  return conflicts;
}

function isInsecure({ protocol, hostname }: URL): boolean {
  return protocol !== 'https:' && !/^(localhost|127\..*|\[::1\])$/.test(hostname);
}
