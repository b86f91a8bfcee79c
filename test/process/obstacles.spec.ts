import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { migrations } from '../../migrations';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/kernel/database/embedded-postgres';
import { AppProcess, freePort } from './app-process';

const root = join(__dirname, '../..');

jest.setTimeout(60_000);

/** What can be in the way of a first start, on a server with TLS (a certificate of its own making) and a Unix socket. */
describe('a first start', () => {
  const processes: AppProcess[] = [];
  let directory: string;
  let sockets: string;
  let postgres: EmbeddedPostgres;
  let admin: Client;
  let port: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'orderloom-obstacles-'));
    sockets = mkdtempSync(join(tmpdir(), 'pg-'));
    chmodSync(directory, 0o755);
    chmodSync(sockets, 0o777);
    const [cert, key] = certify('server');
    const data = join(directory, 'server');
    await startEmbeddedPostgres({ directory: data, settings: { fsync: 'off' } }).then((first) => first.stop());
    // the server demands that the key is its own
    const { uid, gid } = statSync(join(data, 'data'));
    chownSync(key, uid, gid);
    chmodSync(key, 0o600);
    postgres = await startEmbeddedPostgres({
      directory: data,
      settings: { fsync: 'off', ssl: 'on', ssl_cert_file: cert, ssl_key_file: key, unix_socket_directories: sockets },
    });
    admin = new Client({ connectionString: postgres.ownerUrl });
    await admin.connect();
    ({ port } = new URL(postgres.ownerUrl));
    for (const statement of [
      `create role owner login password 'secret'`,
      `create role poor login password 'secret'`,
      `create role busy login password 'secret' connection limit 0`,
      `create role few login password 'secret' connection limit 1`,
      `create role odd login password 'a#b/c%41d@e'`,
      `create database empty owner owner`,
      `create database mine owner odd`,
      `create database scarce owner few`,
      `create database theirs owner owner`,
      `create database standby owner owner`,
      `alter database standby set default_transaction_read_only = on`,
    ]) {
      await admin.query(statement);
    }
    const theirs = new Client({ connectionString: urlOf('owner', 'theirs') });
    await theirs.connect();
    await theirs.query('create schema orders').finally(() => theirs.end());
  });
  afterAll(async () => {
    await Promise.all(processes.map((each) => each.end()));
    await admin.end();
    await postgres.stop();
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
    rmSync(sockets, { recursive: true, force: true });
  });

  /** A certificate and its key, each vouching for itself. */
  const certify = (name: string) => {
    const [cert, key] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)] as const;
    execFileSync('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
      ...['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert],
    ]);
    return [cert, key] as const;
  };
  const urlOf = (role: string, database: string, password = 'secret') =>
    `postgres://${role}:${password}@127.0.0.1:${port}/${database}`;
  const run = (env: Record<string, string>, args: readonly string[] = [], cwd?: string) => {
    const own = {
      NODE_ENV: 'production',
      PAYMENT_PROVIDER: 'sandbox',
      DATA_DIR: join(directory, 'unused'),
      LOG_LEVEL: 'info',
    };
    const started = new AppProcess({ ...own, JWT_SECRET: 'f81d4fae7dec11d0a76500a0c91e6bf6', ...env }, args, cwd);
    processes.push(started);
    return started;
  };
  /** Of a start that is to end by itself. Every line has to be JSON in production. */
  const said = async (env: Record<string, string>, args?: readonly string[], cwd?: string) => {
    const once = run(env, args, cwd);
    const { code } = await once.exited;
    const texts = once.output.trimEnd().split('\n');
    if (env['NODE_ENV'] === 'development') return { code, lines: texts };
    return { code, lines: texts.map((text) => (JSON.parse(text) as { msg: string }).msg) };
  };

  const advice: [string, () => Record<string, string> | Promise<Record<string, string>>, RegExp][] = [
    ['a role that may not create', () => ({ DATABASE_URL: urlOf('poor', 'empty') }), /run GRANT CREATE ON DATABASE/],
    [
      'a database that is read-only',
      () => ({ DATABASE_URL: urlOf('owner', 'standby') }),
      /read-only.*name the primary/,
    ],
    ['a schema of another application', () => ({ DATABASE_URL: urlOf('owner', 'theirs') }), /a database of its own/],
    ['a wrong password', () => ({ DATABASE_URL: urlOf('owner', 'empty', 'no') }), /Correct user and password/],
    ['no password', () => ({ DATABASE_URL: `postgres://owner@127.0.0.1:${port}/empty` }), /Correct user and password/],
    ['a # in the password', () => ({ DATABASE_URL: urlOf('odd', 'mine', 'a#b') }), /DATABASE_URL .*write # as %23/],
    ['a / in the password', () => ({ DATABASE_URL: urlOf('odd', 'mine', 'a/b') }), /DATABASE_URL .*write \/ as %2F/],
    [
      'a % in the password',
      () => ({ DATABASE_URL: urlOf('odd', 'mine', 'a%') }),
      /DATABASE_URL .*write % itself as %25/,
    ],
    ['no such database', () => ({ DATABASE_URL: urlOf('owner', 'missing') }), /Create it with CREATE DATABASE/],
    [
      'no server',
      async () => ({ DATABASE_URL: `postgres://owner:secret@127.0.0.1:${await freePort()}/empty` }),
      /ECONNREFUSED.*Start the server/,
    ],
    [
      'no server, by a name with two addresses',
      async () => ({ DATABASE_URL: `postgres://owner:secret@localhost:${await freePort()}/empty` }),
      /ECONNREFUSED.*Start the server/,
    ],
    ['no socket', () => ({ DATABASE_URL: 'postgres:///empty?host=/nowhere' }), /ENOENT.*Start the server/],
    ['no such host', () => ({ DATABASE_URL: 'postgres://owner:secret@nowhere.invalid/empty' }), /Correct the host in/],
    ['too many connections', () => ({ DATABASE_URL: urlOf('busy', 'empty') }), /too many connections.*raise max_conn/],
    [
      'a certificate that nobody vouches for',
      () => ({ DATABASE_URL: `${urlOf('owner', 'empty')}?sslmode=require` }),
      /self-signed certificate.*sslrootcert=FILE in DATABASE_URL/,
    ],
    [
      'a certificate authority that is another one',
      () => ({ DATABASE_URL: urlOf('owner', 'empty'), DATABASE_CA_FILE: certify('other')[0] }),
      /self-signed certificate.*DATABASE_CA_FILE/,
    ],
    [
      'a certificate authority that is not there',
      () => ({ DATABASE_URL: urlOf('owner', 'empty'), DATABASE_CA_FILE: '/nowhere/ca.crt' }),
      /ENOENT.*Correct the name of that file in DATABASE_URL or in DATABASE_CA_FILE/,
    ],
    [
      'a certificate that is not there',
      () => ({ DATABASE_URL: `${urlOf('owner', 'empty')}?sslmode=require&sslrootcert=/nowhere/ca.crt` }),
      /ENOENT.*Correct the name of that file/,
    ],
    [
      'several servers, none of which will do',
      async () => ({
        DATABASE_URL: `postgres://owner:secret@127.0.0.1:${await freePort()},127.0.0.1:${port}/standby?target_session_attrs=read-write`,
      }),
      /no server accepts writes \(.*ECONNREFUSED.*; .*it is read-only\).*name the primary/,
    ],
    [
      'a wish for a standby',
      () => ({ DATABASE_URL: `${urlOf('owner', 'empty')}?target_session_attrs=standby` }),
      /^Configuration: DATABASE_URL has a target_session_attrs/,
    ],
    ['a host that is not of this machine', () => ({ HOST: '192.0.2.1' }), /choose another HOST/],
  ];

  it.each(advice)('says in one sentence what to do about %s, in production as JSON', async (_what, env, expected) => {
    const { code, lines } = await said(await env());
    expect({ code, lines }).toEqual({ code: 1, lines: [expect.stringMatching(expected)] });
    expect(lines.join()).not.toContain('secret');
  });

  it('says the same sentence when it is only the application that fails', async () => {
    const { code, lines } = await said({ DATABASE_URL: urlOf('few', 'scarce') });
    expect(lines.at(-1)).toMatch(/too many connections.*raise max_connections/);
    expect({ code, lines }).toEqual({
      code: 1,
      lines: [
        expect.stringMatching(/migrations applied$/),
        expect.stringMatching(/could change the log/),
        lines.at(-1),
      ],
    });
  });

  it('says the same sentence in development, without Nest’s account of its modules', async () => {
    const found = await said({ NODE_ENV: 'development', DATABASE_URL: urlOf('owner', 'theirs') });
    expect(found).toEqual({
      code: 1,
      lines: [expect.stringMatching(/^The database has something of another application/)],
    });
  });

  it('says that the port is in use before it creates a database', async () => {
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve));
    const { port: taken } = squatter.address() as { port: number };
    const DATA_DIR = join(directory, 'never');
    const found = await said({ DATA_DIR, PORT: String(taken) });
    squatter.close();
    expect(found).toEqual({ code: 1, lines: [expect.stringMatching(/^Port \d+ is in use: stop what listens there/)] });
    expect(statSync(DATA_DIR, { throwIfNoEntry: false })).toBeUndefined();
  });

  it('says nothing but JSON also while it runs and ends', async () => {
    const own = String(await freePort());
    const app = run({ DATABASE_URL: urlOf('owner', 'empty'), PORT: own });
    await app.ready(`http://127.0.0.1:${own}`);
    expect(await app.end()).toMatchObject({ code: 0 });
    const levels = app.output
      .trimEnd()
      .split('\n')
      .map((text) => (JSON.parse(text) as { level: string }).level);
    expect(new Set(levels)).toEqual(new Set(['info', 'warn']));
  });

  it('needs no more than percent-encoding for a password with special characters', async () => {
    const DATABASE_URL = urlOf('odd', 'mine', encodeURIComponent('a#b/c%41d@e'));
    expect(await said({ DATABASE_URL }, ['--migrate'])).toMatchObject({ code: 0 });
  });

  it('works over a Unix socket', async () => {
    await admin.query('create database by_socket owner owner');
    const own = String(await freePort());
    const app = run({ DATABASE_URL: `postgres://owner:secret@/by_socket?host=${sockets}&port=${port}`, PORT: own });
    await app.ready(`http://127.0.0.1:${own}`);
    expect(await app.end()).toMatchObject({ code: 0 });
    for (const DATABASE_URL of [
      `socket://owner:secret@${sockets}?db=by_socket&port=${port}`,
      `postgres://owner:secret@${encodeURIComponent(sockets)}:${port}/by_socket`,
    ]) {
      expect(await said({ DATABASE_URL }, ['--migrate'])).toEqual({ code: 0, lines: ['Database: up to date'] });
    }
  });

  it('works with several servers of which the first does not run', async () => {
    await admin.query('create database several owner owner');
    const own = String(await freePort());
    const hosts = `127.0.0.1:${await freePort()},127.0.0.1:${port}`;
    const app = run({ DATABASE_URL: `postgres://owner:secret@${hosts}/several`, PORT: own });
    await app.ready(`http://127.0.0.1:${own}`);
    expect(await app.end()).toMatchObject({ code: 0 });
  });

  it('says what to do about a server without TLS', async () => {
    const plain = new URL(process.env['TEST_POSTGRES_URL']!);
    plain.searchParams.set('sslmode', 'require');
    expect(await said({ DATABASE_URL: plain.href })).toEqual({
      code: 1,
      lines: [expect.stringMatching(/does not support SSL.*use sslmode=disable in DATABASE_URL/)],
    });
  });

  it('works with a certificate whose authority the URL names, or DATABASE_CA_FILE', async () => {
    const file = join(directory, 'server.crt');
    const DATABASE_URL = urlOf('owner', 'empty');
    const trusting: Record<string, string>[] = [
      { DATABASE_URL: `${DATABASE_URL}?sslmode=verify-full&sslrootcert=${file}` },
      { DATABASE_URL, DATABASE_CA_FILE: file },
      { DATABASE_URL, DATABASE_OWNER_URL: `${DATABASE_URL}?sslmode=require`, DATABASE_CA_FILE: file },
    ];
    for (const env of trusting) expect(await said(env, ['--migrate'])).toMatchObject({ code: 0 });
  });

  it('works in a folder whose name has brackets, on an empty database', async () => {
    const folder = join(directory, 'orderloom (1) [x] {a}');
    mkdirSync(folder);
    cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true });
    cpSync(join(root, 'package.json'), join(folder, 'package.json'));
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
    await admin.query('create database in_brackets owner owner');
    const env = { DATABASE_URL: urlOf('owner', 'in_brackets') };
    expect(await said(env, ['--migrate'], folder)).toEqual({
      code: 0,
      lines: [`Database: ${migrations.length} migrations applied`],
    });
  });
});
