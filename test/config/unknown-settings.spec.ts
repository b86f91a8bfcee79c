import '../../src/config/config';
import { unknownSettings } from '../../src/config/unknown-settings';

/** Names of what the shells, CI services and containers that we know of put into an environment. */
const ordinary = `
  PATH HOME USER LOGNAME SHELL PWD OLDPWD TERM LANG LC_ALL TZ TMPDIR EDITOR DISPLAY HOSTNAME HOSTTYPE MAIL SHLVL _
  SSH_AUTH_SOCK XDG_DATA_DIRS XDG_CONFIG_DIRS XDG_SESSION_TYPE DBUS_SESSION_BUS_ADDRESS WSL_DISTRO_NAME WSLENV
  COLORTERM TERM_PROGRAM VSCODE_INJECTION LS_COLORS LESSOPEN DOCKER_HOST COMPOSE_PROJECT_NAME KUBECONFIG
  NODE_OPTIONS NODE_PATH NODE_VERSION NODE_EXTRA_CA_CERTS NODE_NO_WARNINGS NVM_DIR NVM_BIN YARN_VERSION COREPACK_HOME
  INIT_CWD npm_config_user_agent npm_config_loglevel npm_package_name npm_package_engines_node npm_lifecycle_event
  npm_node_execpath npm_config_noproxy npm_command NPM_TOKEN NPM_CONFIG_LOGLEVEL
  PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE PGSSLMODE PGSSLROOTCERT PGDATA PGAPPNAME POSTGRES_USER POSTGRES_PASSWORD
  POSTGRES_DB POSTGRES_HOST POSTGRES_URL DATABASE_HOST DATABASE_NAME DATABASE_USER DATABASE_PASSWORD DB_URL DB_HOST
  APP_DB_PASSWORD BIND_ADDRESS HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy no_proxy
  CI CI_JOB_TOKEN CI_COMMIT_SHA CI_SERVER_HOST CI_SERVER_PORT GITLAB_CI GITHUB_ACTIONS GITHUB_TOKEN GITHUB_ENV
  RUNNER_OS RUNNER_TEMP ACTIONS_ID_TOKEN_REQUEST_URL CIRCLECI CIRCLE_OIDC_TOKEN BITBUCKET_STEP_OIDC_TOKEN TRAVIS
  JENKINS_HOME BUILD_NUMBER BUILDKITE TEAMCITY_VERSION VERCEL VERCEL_ENV VERCEL_OIDC_TOKEN RAILWAY_ENVIRONMENT
  RENDER FLY_APP_NAME DYNO HEROKU_APP_NAME AWS_REGION AWS_ACCESS_KEY_ID ECS_CONTAINER_METADATA_URI K_SERVICE
  GOOGLE_APPLICATION_CREDENTIALS WEBSITE_SITE_NAME INVOCATION_ID JOURNAL_STREAM NOTIFY_SOCKET LISTEN_FDS
  OTEL_EXPORTER_OTLP_HEADERS OTEL_EXPORTER_OTLP_PROTOCOL OTEL_EXPORTER_OTLP_TRACES_ENDPOINT OTEL_TRACES_EXPORTER
  OTEL_METRICS_EXPORTER OTEL_LOGS_EXPORTER OTEL_RESOURCE_ATTRIBUTES OTEL_SDK_DISABLED OTEL_PROPAGATORS OTEL_LOG_LEVEL SENTRY_DSN DD_AGENT_HOST LOG_FILE DEBUG
  JAVA_HOME PYTHONPATH GOPATH MYSQL_HOST REDIS_URL KUBERNETES_SERVICE_HOST KUBERNETES_PORT HOST PORT POST HOSTS PORTS
`;

describe('a variable that is not a setting', () => {
  it('is nobody’s business when it belongs to a shell, a CI service or a container', () => {
    const names = ordinary.trim().split(/\s+/);
    expect(unknownSettings(Object.fromEntries(names.map((name) => [name, 'some value'])))).toEqual([]);
    expect(names.length).toBeGreaterThan(100);
  });

  it('is nobody’s business when it belongs to the environment of these tests', () => {
    expect(unknownSettings(process.env)).toEqual([]);
  });

  it('is nobody’s business when Kubernetes or Docker describes a service of our name with it', () => {
    expect(
      unknownSettings({
        ORDERLOOM_SERVICE_HOST: '10.0.0.7',
        ORDERLOOM_SERVICE_PORT: '3000',
        ORDERLOOM_SERVICE_PORT_HTTP: '3000',
        ORDERLOOM_PORT: 'tcp://10.0.0.7:3000',
        ORDERLOOM_PORT_3000_TCP: 'tcp://10.0.0.7:3000',
        ORDERLOOM_PORT_3000_TCP_ADDR: '10.0.0.7',
        ORDERLOOM_PORT_3000_TCP_PROTO: 'tcp',
        ORDERLOOM_NAME: '/web/orderloom',
      }),
    ).toEqual([]);
  });

  it.each([
    ['TRUSTED_PROXY', 'TRUSTED_PROXIES', ''],
    ['DATABASE_URI', 'DATABASE_URL', ''],
    ['DATBASE_URL', 'DATABASE_URL', ''],
    ['LOGLEVEL', 'LOG_LEVEL', ''],
    ['log_level', 'LOG_LEVEL', ''],
    ['DATA_DRI', 'DATA_DIR', ''],
    ['ADMIN_PASWORD', 'ADMIN_PASSWORD', ''],
    ['ORDERLOOM_PORT', 'PORT', '3000'],
    ['ORDERLOOM_LOG_LEVEL', 'LOG_LEVEL', ''],
    ['SIGN_IN_FAILURES_PER_ACOUNT', 'SIGN_IN_FAILURES_PER_ACCOUNT', ''],
  ])('%s is taken for a misspelled %s', (name, meant, value) => {
    expect(unknownSettings({ [name]: value || 'some value' })).toEqual([
      `${name} is not a setting of Orderloom and has no effect. Did you mean ${meant}?`,
    ]);
  });

  it('is named also when it only begins as settings do', () => {
    expect(unknownSettings({ RATE_LIMIT_EVERYTHING: '5' })).toEqual([
      'RATE_LIMIT_EVERYTHING is not a setting of Orderloom and has no effect. npm start -- --help lists the settings.',
    ]);
  });

  it('is somebody else’s when the setting that it resembles is there, or when it is empty', () => {
    expect(unknownSettings({ LOGLEVEL: 'info', LOG_LEVEL: 'warn', DATABASE_URI: '' })).toEqual([]);
  });
});
