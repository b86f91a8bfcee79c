import { EventStore } from '../../src/kernel/event-store/event-store';
import { account, order, query, tea } from '../journeys/shop';
import type { Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { builtOpenApi } from './open-api';
import { operationsOf } from './operations';

const forged = (...keys: unknown[]) => Buffer.from(JSON.stringify(keys)).toString('base64url');

describe('a cursor', () => {
  let shop: TestApp;
  let ada: Api;
  let id: string;
  let lists: string[];

  beforeAll(async () => {
    shop = await startApp();
    ada = await account(shop);
    const { body } = await order(ada, { submit: false });
    id = body['id'] as string;
    lists = operationsOf(await builtOpenApi())
      .filter(({ method, query }) => method === 'GET' && query.includes('after'))
      .map(({ path }) => path.replace('{id}', path.includes('/orders/') ? id : tea));
  });
  afterAll(() => shop.close());

  it('is 400 on every list when it is not of its kind or out of its bounds, and never 500', async () => {
    expect(lists.length).toBeGreaterThan(10);
    const numbers = [-(2 ** 53), 1 - 2 ** 53, -(2 ** 31) - 1, -1, 2 ** 53, 1e300, 0.5];
    const cursors = [...numbers, '\0', '\ud800', 'x'.repeat(300), null, true, {}, []].map((key) => forged(key));
    cursors.push(forged(), forged(1, 2), forged('a', 'b'), `${forged(1)}!`, `${forged('a')}=`, 'W10', 'bnVsbA', '!');
    for (const path of lists) {
      for (const cursor of cursors) {
        const { status } = await shop.admin.get(`${path}?after=${cursor}`);
        expect({ path, cursor, status }).toEqual({ path, cursor, status: 400 });
      }
    }
  });

  it('is 200 or 400 at the ends of what a Postgres integer and JavaScript can count', async () => {
    for (const path of lists) {
      for (const number of [0, 1, 2 ** 31 - 2, 2 ** 31 - 1, 2 ** 31, 2 ** 53 - 1]) {
        for (const cursor of [forged(number), String(number)]) {
          const { status } = await shop.admin.get(`${path}?after=${cursor}`);
          expect({ path, cursor, status }).not.toMatchObject({ status: 500 });
          expect([200, 400]).toContain(status);
        }
      }
    }
    const last = await ada.get(`/v1/orders/${id}/events?after=${forged(2 ** 31 - 1)}`);
    expect(last).toMatchObject({ status: 200, body: { data: [], page: { hasMore: false, next: null } } });
  });

  it('reads no more of an order’s stream than the page takes', async () => {
    const store = shop.app.get(EventStore, { strict: false });
    const long = (await order(ada, { submit: false })).body;
    const { lineId } = long['lines'][0] as { lineId: string };
    const change = (quantity: number) => ({ type: 'order.item-changed', orderId: long['id'], lineId, quantity });
    const changes = Array.from({ length: 2000 }, (_, n) => change(n + 1));
    await store.append({ type: 'order', id: long['id'] as string }, changes, { expectedVersion: long['version'] });
    await shop.settled();
    const rowsRead = async () => {
      // what a session has read is counted when it ends
      await query(
        shop,
        `select pg_terminate_backend(pid, 5000) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()`,
      );
      const [row] = await query<{ rows: number }>(
        shop,
        `select (idx_tup_fetch + seq_tup_read)::int as rows from pg_stat_user_tables where relid = 'event_store.events'::regclass`,
      );
      return row!.rows;
    };
    const before = await rowsRead();
    await until(async () => (await ada.get(`/v1/orders/${long['id']}/events?limit=1`)).status === 200);
    for (let times = 0; times < 20; times++) {
      const { body } = await ada.get(`/v1/orders/${long['id']}/events?limit=1&after=${forged(times)}`);
      expect(body).toMatchObject({ data: [{ version: times + 1 }], page: { hasMore: true } });
    }
    // all of the stream 20 times is 40,000
    expect((await rowsRead()) - before).toBeLessThan(10_000);
  });
});

/** The first requests after connections were cut may find the pool with dead ones. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds()));
}
