/** What `--help` prints. */
export function help(): string {
  return `Orderloom, an event-sourced order platform.

Usage: npm start [-- --help | --migrate | --reset-admin-password]

  --migrate               bring the database up to date and end
  --reset-admin-password  give the administrator ADMIN_EMAIL a new random password,
                          print it and end
  --help                  this text

Environment (none is needed):

  DATABASE_URL          Postgres to use, postgres://user:password@host:port/database;
                        without it, one is run in DATA_DIR. Special characters are
                        percent-encoded: # % / ? @ as %23 %25 %2F %3F %40.
                        Several servers, of which the first that accepts writes is used:
                          postgres://user:password@host1:5432,host2:5432/database
                        A Unix socket:
                          postgres://user:password@/database?host=/var/run/postgresql
                        PgBouncer works in session mode only
  DATABASE_OWNER_URL    the same database as the role that owns its tables, for migrations
                        (DATABASE_URL); the role of DATABASE_URL is created if there is none
  DATA_DIR              its directory, and that of generated secrets (data)
  HOST, PORT            where to listen (127.0.0.1, 3000)
  MAX_CONNECTIONS       connections that may be open at once (2000)
  REQUEST_TIMEOUT_SECONDS
                        time for a request to arrive in full (30)
  SHUTDOWN_TIMEOUT      seconds for requests and handlers in flight to finish at a
                        shutdown; then the process ends with exit code 1 (20)
  JWT_SECRET            signs access tokens, at least 32 random characters
                        (generated, kept in DATA_DIR)
  ACCESS_TOKEN_SECONDS  lifetime of an access token (3600)
  SIGN_IN_FAILURES_PER_ACCOUNT, SIGN_IN_FAILURES_PER_ADDRESS
                        within 15 minutes, after which sign-in is refused (10, 100)
  TRUSTED_PROXIES       addresses or networks of reverse proxies whose X-Forwarded-For
                        and X-Forwarded-Proto count, separated by commas (none)
  ADMIN_EMAIL           administrator to create while there is none (admin@orderloom.local)
  ADMIN_PASSWORD        and the password (random, printed once)
  DOCS                  true or false: Swagger UI at /docs (on, but off in production)
  DEMO_DATA             true or false: a demonstration catalogue for an empty database
                        (on with the embedded Postgres)
  METRICS               true or false: Prometheus metrics at /metrics
                        (on, but in production only with METRICS_TOKEN)
  METRICS_TOKEN         bearer token that /metrics asks for, at least 16 characters (none)
  LOG_LEVEL             fatal, error, warn, info, debug, trace or silent (info)
  NODE_ENV              development, test or production (development)`;
}
