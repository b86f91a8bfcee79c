import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from 'pg';
import { connect, eventually } from '../kernel/support';
import { Api } from '../support/api';
import { AppProcess, freePort } from './app-process';

const password = 'a password for this test';
const subscriptions = '/v1/operations/subscriptions';
const view = 'orders.order-details';

jest.setTimeout(60_000);

/** The built app over a database whose owner is an ordinary role, as it is on a Postgres that somebody else runs. */
describe('a rebuild of a view that an ordinary role owns', () => {
  const name = `rebuild_${process.pid}`;
  const [owner, application, analyst] = [`${name}_owner`, `${name}_app`, `${name}_analyst`];
  let directory: string;
  let admin: Client;
  let asOwner: Client;
  let asAnalyst: Client;
  let app: AppProcess;
  let api: Api;

  const at = (username: string) => {
    const url = new URL(process.env['TEST_POSTGRES_URL']!);
    return Object.assign(url, { pathname: `/${name}`, username, password: 'a password' }).href;
  };

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'orderloom-rebuild-'));
    admin = await connect(process.env['TEST_POSTGRES_URL']!);
    await admin.query(`create role ${owner} login createrole password 'a password'`);
    await admin.query(`create role ${analyst} login password 'a password'`);
    await admin.query(`create database ${name} owner ${owner}`);
    const port = await freePort();
    app = new AppProcess({
      PORT: String(port),
      DATA_DIR: directory,
      DATABASE_URL: at(application),
      DATABASE_OWNER_URL: at(owner),
      JWT_SECRET: 'a secret that only this test knows, and long enough',
      ADMIN_PASSWORD: password,
      LOG_LEVEL: 'warn',
    });
    const url = `http://127.0.0.1:${port}`;
    await app.ready(url);
    api = await Api.signIn(url, 'admin@orderloom.local', password);
    asOwner = await connect(at(owner));
    await asOwner.query(`
      grant usage on schema orders to ${analyst};
      grant select on orders.orders_view to ${analyst};
      create view orders.open with (security_barrier) as select id, status from orders.orders_view where status <> 'cancelled';
      grant select on orders.open to ${analyst};
      create schema analysis authorization ${owner};
      grant all on schema analysis to ${analyst}`);
    asAnalyst = await connect(at(analyst));
  });
  afterAll(async () => {
    await app.end();
    await Promise.all([asOwner.end(), asAnalyst.end()]);
    await admin.query(`drop database ${name} with (force)`);
    await admin.query(`drop role ${owner}, ${analyst}`);
    await admin.query(`drop role if exists ${application}`);
    await admin.end();
    rmSync(directory, { recursive: true, force: true });
  });

  const rebuilding = async () => {
    const { body } = await api.get(subscriptions);
    return (body['data'] as { name: string; error: string | null }[]).find((each) => each.name === `${view}/rebuild`);
  };
  const table = async () =>
    (await asOwner.query(`select 'orders.orders_view'::regclass::oid as oid`)).rows[0] as object;

  it('keeps what reads it', async () => {
    const before = await table();
    await api.post(`${subscriptions}/${view}/rebuild`);
    await eventually(async () => !(await rebuilding()));
    expect(await table()).not.toEqual(before);
    await asAnalyst.query('select from orders.orders_view');
    await asAnalyst.query('select from orders.open');
  });

  it('is refused while a view that belongs to somebody else reads it', async () => {
    await asAnalyst.query('create view analysis.mine as select count(*) from orders.orders_view');
    const before = await table();
    await api.post(`${subscriptions}/${view}/rebuild`);
    const error = await eventually(async () => (await rebuilding())?.error);
    expect(error).toBe('orders.orders_view cannot be rebuilt: in the way is view analysis.mine');
    expect(await table()).toEqual(before);
    await asAnalyst.query('drop view analysis.mine');
    await eventually(async () => !(await rebuilding()), 20_000);
    expect(await table()).not.toEqual(before);
  });
});
