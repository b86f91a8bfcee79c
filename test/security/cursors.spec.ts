import { EventStore } from '../../src/kernel/event-store/event-store';
import { ListOrder } from '../../src/kernel/http/list-order';
import { sagaOrder } from '../../src/kernel/sagas/saga-instances';
import { deadLetterOrder } from '../../src/kernel/subscriptions/dead-letters';
import { historyOrder } from '../../src/kernel/subscriptions/log-history';
import { orderBy } from '../../src/modules/orders/views/order-list';
import { timelineOrder } from '../../src/modules/orders/views/order-timeline';
import { paymentOrder } from '../../src/modules/payments/payments-view';
import { productOrder } from '../../src/modules/products/catalogue';
import { movementOrder } from '../../src/modules/products/products.controller';
import { shipmentOrder } from '../../src/modules/shipping/shipments';
import { accountOrder } from '../../src/modules/users/accounts';
import { apiKeyOrder } from '../../src/modules/users/api-keys';
import { sessionOrder } from '../../src/modules/users/sessions';
import { account, idOf, order, query, tea } from '../journeys/shop';
import type { Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { builtOpenApi } from './open-api';
import { operationsOf } from './operations';

const [uuid, instant] = ['01980000-0000-7000-8000-000000000001', '2026-01-01T00:00:00.000001Z'];
const orderEvents = new ListOrder('order-events', [['version', 'integer']]);

describe('a cursor', () => {
  let shop: TestApp;
  let ada: Api;
  let id: string;
  let lists: string[];
  /** By path, with sort values that may be. */
  let orders: Record<string, { readonly order: ListOrder; readonly valid: readonly string[] }>;

  beforeAll(async () => {
    shop = await startApp();
    ada = await account(shop);
    const { body } = await order(ada, { submit: false });
    id = body['id'] as string;
    const her = await idOf(ada);
    lists = operationsOf(await builtOpenApi())
      .filter(({ method, path, query }) => method === 'GET' && query.includes('after') && !path.endsWith('ns/events'))
      .map(({ path }) => path.replace('{id}', path.includes('/orders/') ? id : path.includes('/users/') ? her : tea));
    orders = {
      '/v1/orders': { order: orderBy('-createdAt'), valid: [instant, uuid] },
      [`/v1/orders/${id}/events`]: { order: orderEvents, valid: ['1'] },
      [`/v1/orders/${id}/timeline`]: { order: timelineOrder, valid: ['1'] },
      '/v1/products': { order: productOrder('sku'), valid: ['TEA', uuid] },
      [`/v1/products/${tea}/stock-movements`]: { order: movementOrder, valid: ['1'] },
      '/v1/payments': { order: paymentOrder, valid: [instant, uuid] },
      '/v1/shipments': { order: shipmentOrder, valid: [instant, uuid] },
      '/v1/users': { order: accountOrder, valid: [instant, uuid] },
      '/v1/users/me/sessions': { order: sessionOrder, valid: [instant, uuid] },
      [`/v1/users/${her}/sessions`]: { order: sessionOrder, valid: [instant, uuid] },
      '/v1/api-keys': { order: apiKeyOrder, valid: [instant, uuid] },
      [`/v1/users/${her}/api-keys`]: { order: apiKeyOrder, valid: [instant, uuid] },
      '/v1/operations/sagas': { order: sagaOrder, valid: [instant, uuid] },
      '/v1/operations/history-changes': { order: historyOrder, valid: [instant, uuid] },
      '/v1/operations/dead-letters': { order: deadLetterOrder, valid: ['1', 'x'] },
    };
  });
  afterAll(() => shop.close());

  it('is 400 on every list when it is not of its kind or out of its bounds, and never 500', async () => {
    expect(Object.keys(orders).toSorted()).toEqual(lists.toSorted());
    const numbers = [
      '-1',
      '-9223372036854775809',
      '9223372036854775808',
      '99999999999999999999',
      '1e3',
      '0.5',
      '01',
      '',
    ];
    const instants = ['2026-02-30T00:00:00.000000Z', '2026-01-01T00:00:00Z', '0000-01-01T00:00:00.000000Z', 'infinity'];
    const texts = ['\0', '\ud800', 'x'.repeat(301)];
    for (const path of lists) {
      const { order, valid } = orders[path]!;
      expect((await shop.admin.get(`${path}?after=${order.encode(valid)}`)).status).toBe(200);
      for (const [nth] of valid.entries()) {
        for (const hostile of [...numbers, ...instants, ...texts]) {
          // any short text is a place in the order of texts
          if (/^[a-zA-Z]+$/.test(valid[nth]!) && !texts.includes(hostile)) continue;
          const cursor = order.encode(valid.with(nth, hostile));
          const { status, body } = await shop.admin.get(`${path}?after=${cursor}`);
          const told = { path, hostile, status, code: body['code'] as unknown };
          expect(told).toEqual({ path, hostile, status: 400, code: 'cursor-malformed' });
        }
      }
      for (const cursor of [order.encode([]), order.encode([...valid, valid[0]!]), '!', 'W10', 'bnVsbA']) {
        expect((await shop.admin.get(`${path}?after=${cursor}`)).status).toBe(400);
      }
    }
  });

  it('is 200 at the ends of what Postgres can count', async () => {
    for (const path of lists) {
      const { order, valid } = orders[path]!;
      const ends = { integer: ['0', '2147483647'], bigint: ['0', '9223372036854775807'] };
      const instants = ['0001-01-01T00:00:00.000000Z', '9999-12-31T23:59:59.999999Z'];
      for (const [nth, value] of valid.entries()) {
        const kind = path.endsWith('/events') ? 'integer' : 'bigint';
        const extremes = /^\d+$/.test(value) ? ends[kind] : value.endsWith('Z') ? instants : [];
        for (const extreme of extremes) {
          const answer = await shop.admin.get(`${path}?after=${order.encode(valid.with(nth, extreme))}`);
          expect({ path, extreme, status: answer.status }).toEqual({ path, extreme, status: 200 });
        }
      }
    }
    const last = await ada.get(`/v1/orders/${id}/events?after=${orderEvents.encode(['2147483647'])}`);
    expect(last).toMatchObject({ status: 200, body: { data: [], page: { hasMore: false, next: null } } });
    const beyond = await ada.get(`/v1/orders/${id}/events?after=${orderEvents.encode(['2147483648'])}`);
    expect(beyond.status).toBe(400);
  });

  it('is 400 when any of its characters was changed, and on every other list', async () => {
    for (const path of lists) {
      const { order, valid } = orders[path]!;
      const cursor = order.encode(valid);
      for (let at = 0; at < cursor.length; at++) {
        const changed = cursor.slice(0, at) + (cursor[at] === 'A' ? 'B' : 'A') + cursor.slice(at + 1);
        expect(() => order.decode(changed)).toThrow('unchanged, of the same list in the same order');
      }
      for (const other of lists.filter((each) => orders[each]!.order !== order)) {
        const { status, body } = await shop.admin.get(`${other}?after=${cursor}`);
        expect({ path, other, status }).toEqual({ path, other, status: 400 });
        expect(body['detail']).toContain('Begin with the first page');
      }
    }
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
      const { body } = await ada.get(
        `/v1/orders/${long['id']}/events?limit=1&after=${orderEvents.encode([String(times)])}`,
      );
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
