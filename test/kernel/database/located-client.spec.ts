import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { Pool } from 'pg';
import { DataSource } from 'typeorm';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../../src/kernel/database/embedded-postgres';
import { LocatedClient, NoWritableServerError } from '../../../src/kernel/database/located-client';
import { freePort } from '../../process/app-process';
import { connect } from '../support';

/** Two servers that take turns at being the primary; a standby is one that is read-only. */
describe('a client of several servers', () => {
  const name = `located_${process.pid}`;
  let directory: string;
  let second: EmbeddedPostgres;
  let silent: Server;
  /** `host:port` of each. */
  let places: { first: string; second: string; silent: string; dead: string };

  const admins = () => [process.env['TEST_POSTGRES_URL']!, second.ownerUrl];
  const administer = async (url: string, ...statements: string[]) => {
    const client = await connect(url);
    for (const statement of statements) await client.query(statement);
    await client.end();
  };
  const primary = async (which: 0 | 1) => {
    for (const [nth, url] of admins().entries()) {
      const mode = nth === which ? 'off' : 'on';
      await administer(url, `alter database ${name} set default_transaction_read_only = ${mode}`);
    }
  };

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'orderloom-located-'));
    chmodSync(directory, 0o755);
    second = await startEmbeddedPostgres({ directory: join(directory, 'data'), settings: { fsync: 'off' } });
    silent = createServer();
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const [a, b] = admins().map((url) => new URL(url).host);
    const { port } = silent.address() as { port: number };
    places = { first: a!, second: b!, silent: `127.0.0.1:${port}`, dead: `127.0.0.1:${await freePort()}` };
    for (const url of admins()) {
      await administer(url, `create role ${name} login password 'secret'`, `create database ${name} owner ${name}`);
    }
  });
  afterAll(async () => {
    silent.close();
    await administer(admins()[0]!, `drop database ${name} with (force)`, `drop role ${name}`);
    await second.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const urlOf = (...hosts: string[]) =>
    `postgres://${name}:secret@${hosts.join(',')}/${name}?target_session_attrs=read-write`;
  /** The port of the server that a connection has led to, as the server itself has it. */
  const reached = async (...hosts: string[]) => {
    const client = new LocatedClient({ connectionString: urlOf(...hosts), connectionTimeoutMillis: 10_000 });
    await client.connect();
    const { rows } = await client.query<{ place: string }>(
      `select host(inet_server_addr()) || ':' || inet_server_port() as place`,
    );
    await client.end();
    return rows[0]!.place;
  };

  it('connects to the first that accepts writes', async () => {
    await primary(0);
    expect(await reached(places.dead, places.second, places.first)).toBe(places.first);
    await primary(1);
    expect(await reached(places.first, places.second)).toBe(places.second);
  });

  it('takes them in their order when several accept writes', async () => {
    for (const url of admins()) await administer(url, `alter database ${name} reset default_transaction_read_only`);
    for (let attempt = 0; attempt < 10; attempt++) {
      expect(await reached(places.second, places.first)).toBe(places.second);
      expect(await reached(places.first, places.second)).toBe(places.first);
    }
  });

  it('passes over one that does not answer', async () => {
    await primary(1);
    const began = Date.now();
    expect(await reached(places.silent, places.second)).toBe(places.second);
    expect(Date.now() - began).toBeLessThan(8000);
  });

  it('follows the primary with each new connection of a pool', async () => {
    await primary(0);
    const pool = new Pool({
      Client: LocatedClient,
      connectionString: urlOf(places.first, places.second),
      connectionTimeoutMillis: 10_000,
      max: 1,
      maxUses: 1,
    });
    const port = async () => (await pool.query<{ port: number }>('select inet_server_port() as port')).rows[0]!.port;
    expect(await port()).toBe(Number(new URL(admins()[0]!).port));
    await primary(1);
    expect(await port()).toBe(Number(new URL(admins()[1]!).port));
    await pool.end();
  });

  it('serves TypeORM as well', async () => {
    await primary(1);
    const extra = { Client: LocatedClient, connectionString: urlOf(places.dead, places.first, places.second) };
    const source = await new DataSource({ type: 'postgres', extra }).initialize();
    expect(await source.query('select inet_server_port() as port')).toEqual([
      { port: Number(new URL(admins()[1]!).port) },
    ]);
    await source.destroy();
  });

  it('says of each server why it will not do, with the code of the last', async () => {
    await primary(1);
    const failed = reached(places.dead, places.first);
    await expect(failed).rejects.toThrow(NoWritableServerError);
    await expect(failed).rejects.toMatchObject({ code: '25006' });
    await expect(failed).rejects.toThrow(
      new RegExp(`${places.dead}: .*ECONNREFUSED.*; ${places.first}: it is read-only`),
    );
  });

  it('keeps the password out of what a log would show of it', () => {
    const client = new LocatedClient({ connectionString: urlOf(places.first, places.second) });
    expect(inspect(client, { depth: 10 })).not.toContain(`'secret'`);
  });
});
