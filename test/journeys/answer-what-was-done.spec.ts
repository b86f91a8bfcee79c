import { randomUUID } from 'node:crypto';
import { DataSource } from 'typeorm';
import { GatewayFailuresAfterCommit1790000000071 } from '../../migrations/gateway/0002-failures-after-commit';
import { DomainError } from '../../src/kernel/domain-error';
import { SagaInstances } from '../../src/kernel/sagas/saga-instances';
import { GetOrderHandler } from '../../src/modules/orders/views/order-details';
import { Catalogue } from '../../src/modules/products/catalogue';
import { eventually } from '../kernel/support';
import type { Answer, Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { anOrder, order, query, type Row, sencha, stockOf, tea, waiting } from './shop';

describe('a request that was carried out', () => {
  let shop: TestApp;
  let ada: Api;

  beforeAll(async () => {
    shop = await startApp();
    ada = await shop.customer('Ada');
  });
  afterEach(() => jest.restoreAllMocks());
  afterAll(() => shop.close());

  const as = (key: string) => ({ 'idempotency-key': key });
  const missing = new DomainError('not-found', 'missing', 'It is not there.');
  const kept = () => query(shop, 'select id from gateway.idempotency_keys where status >= 400');

  /** A saga whose compensation a person has to see to. */
  const parked = async (): Promise<string> => {
    const placed = await order(ada, {}, waiting);
    const orderId = placed.body['id'] as string;
    await query(shop, `update shipping.shipments set status = 'dispatched' where order_id = $1`, [orderId]);
    await ada.post(`/v1/orders/${orderId}/cancel`);
    await shop.settled();
    const sagas = (await shop.admin.all('/v1/operations/sagas?status=parked')) as Row[];
    return sagas.find(({ subject }) => subject === orderId)!['id'] as string;
  };
  const draft = async (): Promise<string> => `/v1/orders/${(await order(ada, { submit: false })).body['id']}`;

  interface Operation {
    readonly api?: 'admin';
    /** What it is done to. */
    readonly path: () => string | Promise<string>;
    readonly body: () => object;
    /** Reading back what it did fails once: for whoever comes next. */
    readonly fail: () => void;
    readonly status: number;
    /** What is told of it, the same at every repeat. */
    readonly told: (answer: Answer) => unknown;
    /** How often it was done, by the log. */
    readonly done: (path: string, body: Row) => Promise<Row[]>;
  }
  const orderFails = () => void jest.spyOn(GetOrderHandler.prototype, 'execute').mockRejectedValueOnce(missing);
  const productFails = () => void jest.spyOn(Catalogue.prototype, 'get').mockRejectedValueOnce(missing);
  const sagaFails = () => void jest.spyOn(SagaInstances.prototype, 'find').mockResolvedValueOnce(undefined);
  const eventsOf = (type: string, id: string) =>
    query(
      shop,
      `select position from event_store.events where event_type = $1 and $2 in (aggregate_id::text, payload ->> 'orderId')`,
      [type, id],
    );
  const idIn = (path: string) => path.split('/')[path.startsWith('/v1/operations') ? 4 : 3]!;
  const last = (type: string) => (path: string) => eventsOf(type, idIn(path));
  const sku = randomUUID();

  const operations: [string, Operation][] = [
    [
      'an order is created',
      {
        path: () => '/v1/orders',
        body: () => anOrder({ submit: false, reference: 'told once' }),
        fail: orderFails,
        status: 201,
        told: ({ body }) => (body as Row)['status'] as string,
        done: () => query(shop, `select from event_store.events where payload ->> 'reference' = 'told once'`),
      },
    ],
    [
      'a line is added',
      {
        path: async () => `${await draft()}/lines`,
        body: () => ({ productId: sencha, quantity: 3 }),
        fail: orderFails,
        status: 201,
        told: ({ body }) => (body as Row)['lineCount'] as number,
        done: last('order.item-added'),
      },
    ],
    [
      'an order is submitted',
      {
        path: async () => `${await draft()}/submit`,
        body: () => ({}),
        fail: orderFails,
        status: 202,
        told: ({ body }) => (body as Row)['id'] as string,
        done: last('order.submitted'),
      },
    ],
    [
      'an order is cancelled',
      {
        path: async () => `${await draft()}/cancel`,
        body: () => ({ reason: 'changed my mind' }),
        fail: orderFails,
        status: 202,
        told: ({ body }) => (body as Row)['status'] as string,
        done: last('order.cancelled'),
      },
    ],
    [
      'a product is made',
      {
        api: 'admin',
        path: () => '/v1/products',
        body: () => ({ sku, name: 'New', price: { amountMinor: 1, currency: 'EUR' } }),
        fail: productFails,
        status: 201,
        told: ({ body }) => (body as Row)['sku'] as string,
        done: () => query(shop, `select from event_store.events where payload ->> 'sku' = $1`, [sku]),
      },
    ],
    [
      'stock is adjusted',
      {
        api: 'admin',
        path: () => `/v1/products/${sencha}/stock-adjustments`,
        body: () => ({ delta: 3, reason: 'told once' }),
        fail: productFails,
        status: 201,
        told: ({ body }) => (body as Row)['onHand'] as number,
        done: () => query(shop, `select from event_store.events where payload ->> 'reason' = 'told once'`),
      },
    ],
    [
      'a parked saga is resolved',
      {
        api: 'admin',
        path: async () => `/v1/operations/sagas/${await parked()}/reject-cancellation`,
        body: () => ({ reason: 'called them' }),
        fail: sagaFails,
        status: 200,
        told: ({ body }) => (body as Row)['id'] as string,
        done: last('saga.resolved'),
      },
    ],
  ];

  it.each(operations)('is answered as such when told again: %s', async (_, operation) => {
    const api = operation.api === 'admin' ? shop.admin : ada;
    const [key, path, body] = [randomUUID(), await operation.path(), operation.body()];
    const before = await kept();
    operation.fail();
    const first = await api.post(path, body, as(key));
    expect(first).toMatchObject({ status: 503, body: { code: 'response-unavailable' } });
    expect(first.headers.get('retry-after')).toBe('1');
    expect(await kept()).toEqual(before);
    const second = await api.post(path, body, as(key));
    expect(second.status).toBe(operation.status);
    expect(second.headers.get('idempotent-replayed')).toBeNull();
    expect(await operation.done(path, second.body as Row)).toHaveLength(1);
    const third = await api.post(path, body, as(key));
    expect(third.headers.get('idempotent-replayed')).toBe('true');
    expect(operation.told(third)).toEqual(operation.told(second));
    await shop.settled();
  });

  it('is answered as such when its answer cannot be kept', async () => {
    // of all the work of this request only that is written to the table
    await query(shop, `alter table gateway.idempotency_keys add constraint full_up check (status is null) not valid`);
    try {
      const [key, before] = [randomUUID(), await stockOf(shop, tea)];
      const path = `/v1/products/${tea}/stock-adjustments`;
      const adjust = (): Promise<Answer> => shop.admin.post(path, { delta: 1, reason: 'found' }, as(key));
      expect(await adjust()).toMatchObject({ status: 201, body: { onHand: before.onHand + 1 } });
      // the claim lapses, as that of a process that died does
      const again = await eventually<Answer | undefined>(async () => {
        const answer = await adjust();
        return answer.status === 409 ? undefined : answer;
      });
      expect(again).toMatchObject({ status: 201, body: { onHand: before.onHand + 1 } });
    } finally {
      await query(shop, 'alter table gateway.idempotency_keys drop constraint full_up');
    }
  });

  it('is answered with what was done while the view of sagas is paused', async () => {
    const id = await parked();
    const view = '/v1/operations/subscriptions/sagas.instances';
    await shop.admin.post(`${view}/pause`);
    await eventually(async () => {
      const [row] = await query(shop, `select owner from subscriptions.checkpoints where name = 'sagas.instances'`);
      return row!['owner'] === null;
    });
    try {
      const answer = await shop.admin.post(`/v1/operations/sagas/${id}/skip`, { reason: 'called them' });
      expect(answer).toMatchObject({ status: 200, body: { id, status: 'compensating' } });
    } finally {
      await shop.admin.post(`${view}/resume`);
    }
    await shop.settled();
  });

  it('is kept as it was refused if nothing was done', async () => {
    const id = randomUUID();
    for (const [path, body, status] of [
      ['/v1/orders', anOrder({ lines: [{ productId: id, quantity: 1 }] }), 422],
      ['/v1/orders', anOrder({ lines: [{ productId: tea, quantity: 1_000_000 }] }), 409],
      [`/v1/orders/${id}/submit`, {}, 404],
    ] as const) {
      const key = randomUUID();
      const [first, second] = [await ada.post(path, body, as(key)), await ada.post(path, body, as(key))];
      expect(first.status).toBe(status);
      expect(second).toMatchObject({ status, body: first.body as object });
      expect(second.headers.get('idempotent-replayed')).toBe('true');
    }
  });

  describe('under a key whose answer was lost with its table', () => {
    const forget = () => query(shop, 'delete from gateway.idempotency_keys');

    it.each([
      [
        'an order',
        (): string => '/v1/orders',
        anOrder({ submit: false }),
        anOrder({ submit: false, reference: 'other' }),
      ],
      [
        'a line',
        async (): Promise<string> => `${await draft()}/lines`,
        { productId: tea, quantity: 1 },
        { productId: tea, quantity: 2 },
      ],
      [
        'a product',
        (): string => '/v1/products',
        { sku: 'K-1', name: 'One', price: { amountMinor: 1, currency: 'EUR' } },
        { sku: 'K-1', name: 'Two', price: { amountMinor: 1, currency: 'EUR' } },
      ],
      [
        'an adjustment',
        (): string => `/v1/products/${sencha}/stock-adjustments`,
        { delta: 1, reason: 'found' },
        { delta: 2, reason: 'found' },
      ],
    ] as const)('is not taken for another one: %s', async (_, where, body, another) => {
      const [key, path] = [randomUUID(), await where()];
      const api = path.startsWith('/v1/orders') ? ada : shop.admin;
      const first = await api.post(path, body, as(key));
      await forget();
      expect(await api.post(path, another, as(key))).toMatchObject({
        status: 422,
        body: { code: 'idempotency-key-reused' },
      });
      // nor does that one take the key away from the first
      const again = await api.post(path, body, as(key));
      expect(again).toMatchObject({ status: first.status, body: first.body as object });
    });
  });

  it('may have been kept as missing by an earlier release: the migration forgets that', async () => {
    await query(shop, 'delete from gateway.idempotency_keys');
    for (const status of [201, 404, 409, 422, null]) {
      await query(
        shop,
        `insert into gateway.idempotency_keys (id, fingerprint, locked_until, status) values (gen_random_uuid(), '', now(), $1)`,
        [status],
      );
    }
    const source = await new DataSource({ type: 'postgres', url: shop.databaseUrl }).initialize();
    const runner = source.createQueryRunner();
    await new GatewayFailuresAfterCommit1790000000071().up(runner);
    await runner.release();
    await source.destroy();
    const left = await query(shop, 'select status from gateway.idempotency_keys order by status');
    expect(left.map(({ status }) => status as number | null)).toEqual([201, 409, 422, null]);
  });
});
