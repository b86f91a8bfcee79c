import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, logFormatOf, readConfig } from '../../src/config/config';
import { documents } from '../../src/config/documents';
import { help } from '../../src/config/help';
import { described } from '../../src/config/setting-text';

const root = join(__dirname, '../..');

describe('the settings', () => {
  it.each(Object.entries(documents))(
    'stand in %s as they are declared (npm run settings:document)',
    (path, written) => {
      const current = readFileSync(join(root, path), 'utf8');
      expect(current).toBe(written(current));
    },
  );

  it('stand in --help with their defaults and what they must be', () => {
    const lines = help().split('\n');
    for (const { name, preset } of described()) expect(lines).toContain(`  ${name}${preset && `=${preset}`}`);
    expect(help().replace(/\s+/g, ' ')).toContain(
      'REQUEST_TIMEOUT_SECONDS=30 Time for a request to arrive in full. Must be',
    );
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(88);
  });

  it('accept their own defaults and examples', () => {
    for (const { name, value, preset, example, secret } of described()) {
      if (preset) expect([name, String(value.read(preset))]).toEqual([name, preset]);
      if (example) expect(() => value.read(example)).not.toThrow();
      // what .env.example shows can be used, but for secrets, which are to be made up
      if (!secret) expect([name, preset || example]).not.toEqual([name, undefined]);
    }
    expect(described().length).toBeGreaterThan(20);
  });

  const problemOf = (env: Record<string, string>) => {
    try {
      readConfig(env);
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError);
      return (error as Error).message;
    }
    throw new Error('The configuration was accepted');
  };

  const issuerForm = 'OIDC_ISSUER must be a URL such as https://login.example.com/realms/shop';

  it.each([
    [{ PORT: 'http' }, 'PORT must be a whole number from 0 to 65535, not "http"'],
    [{ PORT: '65536' }, 'PORT must be a whole number from 0 to 65535, not "65536"'],
    [{ PORT: '-1' }, 'PORT must be a whole number from 0 to 65535, not "-1"'],
    [{ SHUTDOWN_TIMEOUT: '20s' }, 'SHUTDOWN_TIMEOUT must be a whole number of seconds from 1 to 3600, not "20s"'],
    [{ SHUTDOWN_TIMEOUT: '1e3' }, 'SHUTDOWN_TIMEOUT must be a whole number of seconds from 1 to 3600, not "1e3"'],
    [{ MAX_CONNECTIONS: ' ' }, 'MAX_CONNECTIONS must be a whole number from 1 to 1,000,000, not " "'],
    [{ DOCS: 'yes' }, 'DOCS must be true or false, not "yes"'],
    [{ NODE_ENV: 'prod' }, 'NODE_ENV must be development, test or production, not "prod"'],
    [{ ADMIN_EMAIL: 'admin' }, 'ADMIN_EMAIL must be an e-mail address, not "admin"'],
    ...[
      '*',
      'null',
      'shop.example.com',
      'https://shop.example.com/',
      'https://shop.example.com/a',
      'https://*.example.com',
    ].map((origin): [Record<string, string>, string] => [
      { CORS_ORIGINS: origin },
      `CORS_ORIGINS must be origins, such as https://shop.example.com, without a path, separated by commas, not "${origin}"`,
    ]),
    [
      { TRUSTED_PROXIES: '10.0.0.0/8, proxy' },
      'TRUSTED_PROXIES must be IP addresses or networks, such as 10.0.0.0/8, separated by commas, not "10.0.0.0/8, proxy"',
    ],
    [{ OIDC_ISSUER: 'login.example.com' }, `${issuerForm}, not "login.example.com"`],
    [{ OIDC_ISSUER: 'https://a.example/?x' }, `${issuerForm}, not "https://a.example/?x"`],
    [
      { OIDC_ROLES: 'shop-admin=admin,shop-staff' },
      'OIDC_ROLES must be NAME=admin or NAME=staff, separated by commas, not "shop-admin=admin,shop-staff"',
    ],
    [
      { PUBLIC_URL: 'https://shop.example.com/api' },
      'PUBLIC_URL must be a URL without a path, such as https://shop.example.com, not "https://shop.example.com/api"',
    ],
  ])('refuse %j in one sentence with the name, what it must be, and the value', (env, sentence) => {
    expect(problemOf(env)).toBe(`Configuration: ${sentence}`);
  });

  it.each([
    [{ ADMIN_PASSWORD: 'hunter2' }, 'ADMIN_PASSWORD must be 12 to 200 characters'],
    [{ METRICS_TOKEN: 'a secret' }, 'METRICS_TOKEN must be 16 to 200 characters without spaces'],
    [
      { DATABASE_URL: 'mysql://me:a-secret@host' },
      'DATABASE_URL must look like postgres://user:password@host:port/database',
    ],
  ])('do not show a secret that is refused (%#)', (env, sentence) => {
    expect(problemOf(env)).toBe(`Configuration: ${sentence}`);
  });

  it.each([
    [{ OIDC_ISSUER: 'https://login.example.com' }, 'OIDC_ISSUER needs OIDC_AUDIENCE'],
    [{ OIDC_AUDIENCE: 'shop' }, 'OIDC_AUDIENCE needs OIDC_ISSUER'],
    [{ OIDC_ROLES: 'a=admin' }, 'OIDC_ROLES needs OIDC_ISSUER'],
    [
      { NODE_ENV: 'production', OIDC_ISSUER: 'http://login.example.com', OIDC_AUDIENCE: 'shop' },
      'OIDC_ISSUER must begin with https:// in production',
    ],
  ])('refuse %j together', (env, sentence) => {
    expect(problemOf(env)).toContain(sentence);
  });

  it('map the roles of a provider by names that may contain = and spaces', () => {
    const OIDC_ROLES = 'CN=Shop Admins=admin, staff=staff ';
    const config = readConfig({ OIDC_ISSUER: 'https://login.example.com', OIDC_AUDIENCE: 'shop', OIDC_ROLES });
    expect(config.OIDC_ROLES).toEqual([
      ['CN=Shop Admins', 'admin'],
      ['staff', 'staff'],
    ]);
  });

  it('are all checked before the start is given up', () => {
    expect(problemOf({ PORT: 'x', DOCS: 'yes' })).toMatch(/^Configuration: PORT must be .*; DOCS must be [^;]*$/);
  });

  it('count as not set when they are empty', () => {
    expect(readConfig({ PORT: '', JWT_SECRET: '', TRUSTED_PROXIES: '' })).toEqual(readConfig({}));
  });

  const required = { NODE_ENV: 'production', PAYMENT_PROVIDER: 'sandbox' };

  it('do not take the sandbox for a payment provider in production, unless they are told to', () => {
    expect(problemOf({ NODE_ENV: 'production' })).toMatch(
      /^Configuration: PAYMENT_PROVIDER must be set.*=sandbox to use/,
    );
    expect(() => readConfig(required)).not.toThrow();
    expect(() => readConfig({})).not.toThrow();
  });

  it('give the URLs of the database its certificate authority, unless they say what they want of TLS', () => {
    const urlsOf = (query: string) => {
      const url = `postgres://me:secret@db.example.com/orders${query}`;
      const env = { DATABASE_URL: url, DATABASE_OWNER_URL: url, DATABASE_CA_FILE: '/etc/a ca.pem' };
      const { DATABASE_URL, DATABASE_OWNER_URL } = readConfig(env);
      expect(DATABASE_OWNER_URL).toBe(DATABASE_URL);
      return DATABASE_URL!.slice('postgres://me:secret@db.example.com/orders'.length);
    };
    expect(urlsOf('')).toBe('?sslmode=verify-full&sslrootcert=%2Fetc%2Fa%20ca.pem');
    expect(urlsOf('?sslmode=verify-ca')).toBe('?sslmode=verify-ca&sslrootcert=%2Fetc%2Fa%20ca.pem');
    expect(urlsOf('?sslrootcert=other.pem')).toBe('?sslrootcert=other.pem');
    expect(urlsOf('?sslmode=disable')).toBe('?sslmode=disable');
    expect(urlsOf('?sslmode=no-verify')).toBe('?sslmode=no-verify');
    expect(urlsOf('?host=/var/run/postgresql')).toBe('?host=/var/run/postgresql');
    expect(problemOf({ DATABASE_CA_FILE: 'ca.pem' })).toMatch(/^Configuration: DATABASE_CA_FILE needs DATABASE_URL/);
  });

  it('make logs JSON in production and text for people elsewhere, unless they say otherwise', () => {
    expect(logFormatOf(readConfig({}))).toBe('pretty');
    expect(logFormatOf(readConfig(required))).toBe('json');
    expect(logFormatOf(readConfig({ ...required, LOG_FORMAT: 'pretty' }))).toBe('pretty');
    expect(logFormatOf(readConfig({ LOG_FORMAT: 'json' }))).toBe('json');
    expect(problemOf({ LOG_FORMAT: 'xml' })).toBe('Configuration: LOG_FORMAT must be json or pretty, not "xml"');
  });
});
