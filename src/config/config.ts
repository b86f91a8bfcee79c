import 'reflect-metadata';
import { plainToInstance, Transform } from 'class-transformer';
import {
  IsBoolean,
  IsEmail,
  IsIn,
  IsInt,
  IsOptional,
  Length,
  Matches,
  Max,
  Min,
  ValidateBy,
  validateSync,
  type ValidationOptions,
} from 'class-validator';
import * as ipaddr from 'ipaddr.js';
import { parseDatabaseUrl } from './database-url';
import { weaknessOf } from './secret-strength';

const flag = () =>
  Transform(({ value }: { value: unknown }) => (value === 'true' ? true : value === 'false' ? false : value));

const isNetwork = (value: unknown) =>
  typeof value === 'string' && (value.includes('/') ? ipaddr.isValidCIDR(value) : ipaddr.isValid(value));

const IsAddressOrNetwork = (options: ValidationOptions) =>
  ValidateBy(
    {
      name: 'isAddressOrNetwork',
      validator: {
        validate: isNetwork,
        defaultMessage: () =>
          'TRUSTED_PROXIES must be IP addresses or networks, such as 10.0.0.0/8, separated by commas',
      },
    },
    options,
  );

/** What is wrong with a value of the environment as database URL; undefined for one that can be used. */
function flawOf(value: unknown): string | undefined {
  try {
    parseDatabaseUrl(String(value));
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

const IsDatabaseUrl = () =>
  ValidateBy({
    name: 'isDatabaseUrl',
    validator: {
      validate: (value) => flawOf(value) === undefined,
      defaultMessage: (about) => `${about?.property} ${flawOf(about?.value)}`,
    },
  });

/** Everything that the environment can set. `--help` prints this list. */
export class Config {
  /** `production` refuses weak secrets and keeps the documentation off unless asked for. */
  @IsIn(['development', 'test', 'production'])
  readonly NODE_ENV: 'development' | 'test' | 'production' = 'development';

  /**
   * Postgres to use, `postgres://user:password@host:port/database`. Without it, one is run in DATA_DIR. Several hosts stand
   * with commas between them, a Unix socket as `postgres:///database?host=/directory`.
   */
  @IsOptional()
  @IsDatabaseUrl()
  readonly DATABASE_URL?: string;

  /** The same database as the role that owns its tables: only migrations use it. Default: DATABASE_URL. */
  @IsOptional()
  @IsDatabaseUrl()
  readonly DATABASE_OWNER_URL?: string;

  /** Directory of the embedded Postgres and of generated secrets. */
  @Length(1, 1000)
  readonly DATA_DIR: string = 'data';

  @Length(1, 255)
  readonly HOST: string = '127.0.0.1';

  @Transform(({ value }) => Number(value))
  @IsInt()
  @Min(0)
  @Max(65535)
  readonly PORT: number = 3000;

  /** Connections that may be open at once; more are refused. */
  @Transform(({ value }) => Number(value))
  @IsInt()
  @Min(1)
  @Max(1_000_000)
  readonly MAX_CONNECTIONS: number = 2000;

  /** Time for a request to arrive in full, in seconds. */
  @Transform(({ value }) => Number(value))
  @IsInt()
  @Min(1)
  @Max(3600)
  readonly REQUEST_TIMEOUT_SECONDS: number = 30;

  /** Time for requests and handlers in flight to finish at a shutdown, in seconds. */
  @Transform(({ value }) => Number(value))
  @IsInt()
  @Min(1)
  @Max(3600)
  readonly SHUTDOWN_TIMEOUT: number = 20;

  /** Signs access tokens; at least 32 random characters. Without it, a random one is kept in DATA_DIR. */
  @IsOptional()
  readonly JWT_SECRET?: string;

  /** Lifetime of an access token, in seconds. */
  @Transform(({ value }) => Number(value))
  @IsInt()
  @Min(60)
  @Max(86_400)
  readonly ACCESS_TOKEN_SECONDS: number = 3600;

  /** Failed sign-ins within 15 minutes after which an account refuses more. */
  @Transform(({ value }) => Number(value))
  @IsInt()
  @Min(1)
  @Max(1_000_000)
  readonly SIGN_IN_FAILURES_PER_ACCOUNT: number = 10;

  /** Failed sign-ins within 15 minutes after which an IP address is refused more. */
  @Transform(({ value }) => Number(value))
  @IsInt()
  @Min(1)
  @Max(1_000_000)
  readonly SIGN_IN_FAILURES_PER_ADDRESS: number = 100;

  /** Addresses or networks of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto count, separated by commas. */
  @IsOptional()
  @Transform(({ value }: { value: unknown }) =>
    typeof value === 'string' ? value.split(',').map((each) => each.trim()) : value,
  )
  @IsAddressOrNetwork({ each: true })
  readonly TRUSTED_PROXIES?: string[];

  /** E-mail of the administrator that is created while there is none. */
  @IsEmail({ require_tld: false })
  readonly ADMIN_EMAIL: string = 'admin@orderloom.local';

  /** That administrator's password. Without it, a random one is printed once, in the log of the first start. */
  @IsOptional()
  @Length(12, 200)
  readonly ADMIN_PASSWORD?: string;

  /** Swagger UI at /docs. Default: on, but off in production. */
  @IsOptional()
  @flag()
  @IsBoolean()
  readonly DOCS?: boolean;

  /** A demonstration catalogue for an empty database. Default: on with the embedded Postgres. */
  @IsOptional()
  @flag()
  @IsBoolean()
  readonly DEMO_DATA?: boolean;

  /** Prometheus metrics at /metrics. Default: on, but in production only with METRICS_TOKEN. */
  @IsOptional()
  @flag()
  @IsBoolean()
  readonly METRICS?: boolean;

  /** What /metrics asks for as bearer token, at least 16 characters. Without it, whoever reaches the port may read them. */
  @IsOptional()
  @Matches(/^\S{16,200}$/, { message: 'METRICS_TOKEN must be 16 to 200 characters without spaces' })
  readonly METRICS_TOKEN?: string;

  @IsIn(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
  readonly LOG_LEVEL: string = 'info';
}

/** A setting is missing or makes no sense; the message says which and what it should be. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** @throws ConfigError */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const unset = ['DATABASE_URL', 'DATABASE_OWNER_URL', 'JWT_SECRET', 'ADMIN_PASSWORD', 'DOCS', 'DEMO_DATA', 'METRICS'];
  const known = Object.keys(new Config()).concat(unset, 'METRICS_TOKEN', 'TRUSTED_PROXIES');
  // an empty variable is how shells and compose files say "not set"
  const given = known.flatMap((key) => (env[key] ? [[key, env[key]] as const] : []));
  const config = plainToInstance(Config, Object.fromEntries(given));
  const problems = validateSync(config).flatMap((problem) => Object.values(problem.constraints ?? {}));
  const weakness = config.JWT_SECRET && weaknessOf(config.JWT_SECRET);
  if (weakness) problems.push(`JWT_SECRET ${weakness}: set it to the output of openssl rand -hex 32`);
  if (config.DATABASE_OWNER_URL && !config.DATABASE_URL) {
    problems.push('DATABASE_OWNER_URL needs DATABASE_URL, which the application uses once the migrations have run');
  }
  if (config.NODE_ENV === 'production' && config.DATABASE_URL && !config.JWT_SECRET) {
    problems.push(
      'JWT_SECRET must be set in production with DATABASE_URL, so that all replicas share it: openssl rand -hex 32',
    );
  }
  if (problems.length > 0) throw new ConfigError(`Configuration: ${problems.join('; ')}`);
  return config;
}
