import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { connect } from '../kernel/support';
import { anOrder, waiting } from '../journeys/shop';
import { type Answer, Api, type Json } from '../support/api';
import { createDatabase, type TestDatabase } from '../support/database';
import { AppProcess, freePort } from './app-process';

jest.setTimeout(90_000);

describe('readiness', () => {
  let directory: string;
  let database: TestDatabase;
  let owner: Client;
  let app: AppProcess;
  let url: string;
  let admin: Api;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'orderloom-ready-'));
    database = await createDatabase();
    owner = await connect(database.url);
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    app = new AppProcess({
      DATABASE_URL: database.appUrl,
      DATABASE_OWNER_URL: database.url,
      DATA_DIR: directory,
      PORT: String(port),
      ADMIN_PASSWORD: 'orderloom-admin',
      DEMO_DATA: 'true',
      LOG_LEVEL: 'warn',
    });
    await app.ready(url);
    admin = await Api.signIn(url, 'admin@orderloom.local', 'orderloom-admin');
  });
  afterAll(async () => {
    await app.end();
    await owner.end();
    await database.drop();
    rmSync(directory, { recursive: true, force: true });
  });

  const ready = async (): Promise<{ status: number; body: Json }> => {
    const response = await fetch(`${url}/health/ready`);
    return { status: response.status, body: (await response.json()) as Json };
  };
  /** @returns what is down then */
  const becomes = async (status: number, withinMs: number, part?: string): Promise<Json> => {
    const deadline = Date.now() + withinMs;
    for (;;) {
      const found = await ready();
      if (found.status === status && (part === undefined || found.body['parts']?.[part])) return found.body['parts'];
      if (Date.now() > deadline) {
        throw new Error(`Not ${status} ${part ?? ''} within ${withinMs} ms: ${JSON.stringify(found)}; ${app.output}`);
      }
      await delay(100);
    }
  };
  const order = (headers: Record<string, string> = {}): Promise<Answer> => admin.post('/v1/orders', anOrder(), headers);
  const readOnly = async (on: boolean) => {
    await owner.query(
      `do $$ begin execute format('alter database %I ${on ? 'set default_transaction_read_only = on' : 'reset default_transaction_read_only'}', current_database()); end $$`,
    );
    if (!on) return;
    await owner.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid()`,
    );
  };

  it('ends while the database takes no writes; leases, orders and their fulfilment are back within 10 s of its end', async () => {
    await readOnly(true);
    const down = await becomes(503, 8000, 'leases');
    expect(down['leases']).toMatch(/^not renewed for \d+ s: the database takes no writes$/);
    const refused = await order();
    expect({ status: refused.status, code: refused.body['code'] }).toEqual({
      status: 503,
      code: 'database-unavailable',
    });
    await readOnly(false);
    await becomes(200, 10_000);
    const placed = await order(waiting);
    expect(placed).toMatchObject({ status: 202, body: { status: 'fulfilling', paymentStatus: 'paid' } });
  });

  it('ends while the log cannot be read, since another session has locked it', async () => {
    await owner.query('begin; lock table event_store.events in access exclusive mode');
    await becomes(503, 10_000, 'log');
    await owner.query('rollback');
    await becomes(200, 10_000);
  });

  it('ends while appends are not answered, although the log can be read', async () => {
    await owner.query('begin; lock table event_store.events in share mode');
    const placing = order();
    await becomes(503, 10_000, 'log');
    await owner.query('rollback');
    expect((await placing).status).toBe(202);
    await becomes(200, 10_000);
  });

  it('names a view that cannot get on; it does not end when an operator has paused one', async () => {
    await owner.query('begin; lock table payments.payments_view in access exclusive mode');
    await order();
    const down = await becomes(503, 30_000, 'payments.payments');
    expect(Object.keys(down)).toEqual(['payments.payments']);
    await owner.query('rollback');
    await becomes(200, 10_000);
    await admin.post('/v1/operations/subscriptions/payments.payments/pause', {});
    await order();
    await delay(1000);
    expect((await ready()).status).toBe(200);
    await admin.post('/v1/operations/subscriptions/payments.payments/resume', {});
  });
});
