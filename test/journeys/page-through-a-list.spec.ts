import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import type { Client } from 'pg';
import { connect } from '../kernel/support';
import type { Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { builtOpenApi } from '../security/open-api';
import { account, idOf, order, type Row, tea, waiting } from './shop';

/** A list, and how its rows change behind the back of whoever reads it. Rows are named by what `nameOf` says of them. */
interface List {
  readonly path: string;
  readonly nameOf: (row: Row) => string;
  /** Adds a row with the sort value `to` of a few. */
  add(to: number): Promise<string>;
  /** Gives a row another sort value. */
  move?(row: string, to: number): Promise<void>;
  remove?(row: string): Promise<void>;
  /** Where rows are only ever added: takes it away when the reading is over. */
  tidyUp?(row: string): Promise<void>;
}

/** Instants that are equal to the second, or even to the millisecond. */
const instants = ['.000001Z', '.000002Z', '.001Z', '.9Z'].map((fraction) => `2020-02-29T12:00:00${fraction}`);
const totals = [
  { currency: 'EUR', total_minor: 100 },
  { currency: 'EUR', total_minor: 9 },
  { currency: 'JPY', total_minor: 50 },
  { currency: 'USD', total_minor: 100 },
];

/** Changes while a list is read: one of them after each page. */
const changes = fc.array(
  fc.record({ what: fc.constantFrom('add', 'move', 'move', 'remove'), row: fc.nat(), to: fc.nat(3) }),
  { maxLength: 12 },
);

describe('a list that is read page by page', () => {
  let shop: TestApp;
  let client: Client;
  let ada: Api;
  let admin: string;
  let customer: string;
  let placed: Row;

  beforeAll(async () => {
    shop = await startApp();
    ada = await account(shop);
    [admin, customer] = [await idOf(shop.admin), await idOf(ada)];
    placed = (await order(ada, {}, waiting)).body as Row;
    await shop.settled();
    client = await connect(shop.databaseUrl);
  });
  afterAll(async () => {
    await client.end();
    await shop.close();
  });

  /** Rows that are copies of one that came about as rows do, with another id and sort value. */
  const copies = (
    path: string,
    table: string,
    sortValues: readonly object[],
    others: (id: string) => object = () => ({}),
  ): List => ({
    path,
    nameOf: ({ id }) => id as string,
    async add(to) {
      const id = randomUUID();
      await client.query(
        `insert into ${table} select (jsonb_populate_record(t, $1::jsonb)).* from ${table} t
         where t.id = (select min(m.id::text)::uuid from ${table} m)`,
        [JSON.stringify({ ...others(id), ...sortValues[to], id })],
      );
      return id;
    },
    async move(row, to) {
      const columns = Object.keys(sortValues[to]!).map((column, nth) => `${column} = $${nth + 2}`);
      await client.query(`update ${table} set ${columns.join()} where id = $1`, [
        row,
        ...Object.values(sortValues[to]!),
      ]);
    },
    async remove(row) {
      await client.query(`delete from ${table} where id = $1`, [row]);
    },
  });

  const at = (column: string) => instants.map((instant) => ({ [column]: instant }));

  const products = (sort: string): List => ({
    ...copies(`/v1/products?sort=${sort}`, 'products.products', []),
    async add(to) {
      const id = randomUUID();
      await client.query(
        `insert into products.products (id, sku, name, description, price_minor, currency, created_at, status, version)
         values ($1, $2, $3, '', $4, $5, $6, 'active', 1)`,
        [id, ...productValues(to)],
      );
      return id;
    },
    async move(row, to) {
      await client.query(
        'update products.products set (sku, name, price_minor, currency, created_at) = ($2, $3, $4, $5, $6) where id = $1',
        [row, ...productValues(to)],
      );
    },
  });

  /** Of each sort key; names that are equal but for their last characters, and as long as they may be. */
  const productValues = (to: number): unknown[] => {
    const letter = 'abBä'[to]!;
    const { total_minor, currency } = totals[to]!;
    return [`${letter}${randomUUID()}`, `${'"'.repeat(299)}${letter}`, total_minor, currency, instants[to]];
  };

  const historyChanges = (): List => ({
    ...copies('/v1/operations/history-changes', 'subscriptions.history_changes', at('detected_at')),
    async add(to) {
      const id = randomUUID();
      await client.query(
        `insert into subscriptions.history_changes (id, detected_at, detected_by, lost_from, lost_to, head)
         values ($1, $2, $1, 1, 2, 3)`,
        [id, instants[to]],
      );
      return id;
    },
  });

  const users = (): List => ({
    ...copies('/v1/users', 'users.users', at('created_at')),
    async add(to) {
      const id = randomUUID();
      await client.query(
        `insert into users.users (id, email, name, roles, status, version, created_at)
         values ($1, $2, 'Copy', '{customer}', 'active', 1, $3)`,
        [id, `${id}@example.com`, instants[to]],
      );
      return id;
    },
  });

  /** Of an account. */
  const sessions = (path: string, userId: () => string): List => ({
    ...copies(path, 'users.sessions', at('created_at')),
    async add(to) {
      const id = randomUUID();
      await client.query(
        `insert into users.sessions (id, user_id, network, user_agent, created_at, expires_at)
         values ($1, $2, '192.0.2.0/24', 'test', $3, now() + interval '1 day')`,
        [id, userId(), instants[to]],
      );
      return id;
    },
  });

  const apiKeys = (path: string, userId: () => string): List => ({
    ...copies(path, 'users.api_keys', at('created_at')),
    async add(to) {
      const id = randomUUID();
      await client.query(
        `insert into users.api_keys (id, user_id, key_hash, start, name, scopes, created_at)
         values ($1, $2, sha256($3), 'ol_key_test', 'test', '{orders:read}', $4)`,
        [id, userId(), Buffer.from(id), instants[to]],
      );
      return id;
    },
  });

  const movements = (): List => ({
    path: `/v1/products/${tea}/stock-movements`,
    nameOf: ({ id }) => String(id),
    async add() {
      const { rows } = await client.query<{ id: string }>(
        `insert into products.stock_movements (product_id, kind, on_hand_delta, reserved_delta, reference)
         values ($1, 'adjusted', 0, 0, $2) returning id`,
        [tea, randomUUID()],
      );
      return rows[0]!.id;
    },
    async remove(row) {
      await client.query('delete from products.stock_movements where id = $1', [row]);
    },
  });

  const deadLetters = (): List => {
    const where = `subscription = split_part($1, '@', 1) and position = split_part($1, '@', 2)::bigint`;
    return {
      path: '/v1/operations/dead-letters',
      nameOf: ({ subscription, position }) => `${subscription}@${position}`,
      async add(to) {
        const subscription = `nobody.${randomUUID()}`;
        await client.query(
          `insert into subscriptions.dead_letters (subscription, position, event_id, event_type, partition, state)
           values ($1, $2, $3, 'test.happened', 'test', 'discarded')`,
          [subscription, 1_000_000 + to, randomUUID()],
        );
        return `${subscription}@${1_000_000 + to}`;
      },
      async move(row, to) {
        // a letter with another name
        await client.query(`update subscriptions.dead_letters set position = ${2_000_000 + to} where ${where}`, [row]);
      },
      async remove(row) {
        await client.query(`delete from subscriptions.dead_letters where ${where}`, [row]);
      },
    };
  };

  /** Of an order: rows are only ever added. */
  const ofOrder = (kind: 'events' | 'timeline', nameOf: List['nameOf']): List => {
    const path = `/v1/orders/${placed['id']}/${kind}`;
    return {
      path,
      nameOf,
      async add() {
        const type = kind === 'events' ? 'event_store.events' : 'orders.timeline';
        const name = kind === 'events' ? 'version' : 'position';
        const { rows } = await client.query<{ name: string }>(
          kind === 'events'
            ? `insert into ${type} select (jsonb_populate_record(t, jsonb_build_object(
                 'version', t.version + 1, 'position', (select max(position) + 1 from ${type}), 'event_id', $2::text))).*
               from ${type} t where aggregate_id = $1 order by version desc limit 1 returning ${name} as name`
            : `insert into ${type} select (jsonb_populate_record(t, jsonb_build_object('position', t.position + 1))).*
               from ${type} t where order_id = $1 order by position desc limit 1 returning ${name} as name`,
          kind === 'events' ? [placed['id'], randomUUID()] : [placed['id']],
        );
        return String(rows[0]!.name);
      },
      async tidyUp(row) {
        // the log would be seen to have lost events
        if (kind === 'events') return;
        await client.query('delete from orders.timeline where order_id = $1 and position = $2', [placed['id'], row]);
      },
    };
  };

  /** Reads the list to its end, with a change after each page. */
  const readThrough = async (list: List, limit: number, afterPage: () => Promise<void>): Promise<string[]> => {
    const seen: string[] = [];
    const separator = list.path.includes('?') ? '&' : '?';
    for (let after = ''; ;) {
      const { status, body } = await shop.admin.get(`${list.path}${separator}limit=${limit}${after}`);
      expect({ path: list.path, status }).toEqual({ path: list.path, status: 200 });
      seen.push(...(body['data'] as Row[]).map(list.nameOf));
      for (const row of body['data'] as Row[]) expect(row).not.toHaveProperty('cursor');
      if (body['page'].next === null) return seen;
      after = `&after=${body['page'].next}`;
      await afterPage();
    }
  };

  const lists: readonly [string, () => List][] = [
    ...['createdAt', '-createdAt'].map((sort) => [`orders by ${sort}`, () => orders(sort, at('created_at'))] as const),
    ...['orderedAt', '-orderedAt'].map((sort) => [`orders by ${sort}`, () => orders(sort, at('ordered_at'))] as const),
    ...['total', '-total'].map((sort) => [`orders by ${sort}`, () => orders(sort, totals)] as const),
    ['payments', () => copies('/v1/payments', 'payments.payments_view', at('requested_at'))],
    ['shipments', () => copies('/v1/shipments', 'shipping.shipments', at('created_at'), (id) => ({ order_id: id }))],
    [
      'sagas',
      () => copies('/v1/operations/sagas', 'sagas.instances', at('started_at'), () => ({ status: 'completed' })),
    ],
    ['users', users],
    ...['sku', '-sku', 'name', '-name', 'price', '-price', 'createdAt', '-createdAt'].map(
      (sort) => [`products by ${sort}`, () => products(sort)] as const,
    ),
    ['changes of the log’s history', historyChanges],
    ['your sessions', () => sessions('/v1/users/me/sessions', () => admin)],
    ['sessions of an account', () => sessions(`/v1/users/${customer}/sessions`, () => customer)],
    ['your API keys', () => apiKeys('/v1/api-keys', () => admin)],
    ['API keys of an account', () => apiKeys(`/v1/users/${customer}/api-keys`, () => customer)],
    ['stock movements', movements],
    ['dead letters', deadLetters],
    ['events of an order', () => ofOrder('events', ({ version }) => String(version))],
    ['timeline of an order', () => ofOrder('timeline', ({ position }) => String(position))],
  ].map(([name, list]) => [name as string, list as () => List]);

  const orders = (sort: string, sortValues: readonly object[]): List =>
    copies(`/v1/orders?sort=${sort}`, 'orders.orders_view', sortValues, () => ({ created_at: instants[0] }));

  beforeAll(async () => {
    // rows are added to the log below, which the app must not fold
    await client.query('alter table event_store.events disable trigger user');
  });

  it('is one of those below, whatever the list and its order', async () => {
    const { paths } = await builtOpenApi();
    const documented = Object.entries(paths).flatMap(([path, item]) => {
      const parameters = (item.get?.parameters ?? []) as { name: string; schema: { enum?: string[]; type: string } }[];
      // the log is read from a position, which never changes
      if (parameters.find(({ name }) => name === 'after')?.schema.type !== 'string') return [];
      const sorts = parameters.find(({ name }) => name === 'sort')?.schema.enum;
      return sorts ? sorts.map((sort) => `${path}?sort=${sort}`) : [path];
    });
    const tried = lists.map(([, list]) =>
      list()
        .path.replace(placed['id'] as string, '{id}')
        .replace(customer, '{id}')
        .replace(tea, '{id}'),
    );
    expect(documented.length).toBeGreaterThan(14);
    expect(tried.toSorted()).toEqual(documented.toSorted());
  });

  it.each(lists)('loses and doubles no row of %s that keeps its place', async (_, of) => {
    const rows = fc.array(fc.nat(3), { minLength: 1, maxLength: 9 });
    await fc.assert(
      fc.asyncProperty(rows, fc.integer({ min: 1, max: 4 }), changes, async (values, limit, planned) => {
        const list = of();
        const alive: string[] = [];
        for (const value of values) alive.push(await list.add(value));
        const steady = new Set(alive);
        const coming = [...planned];
        const seen = await readThrough(list, limit, async () => {
          const change = coming.shift();
          const row = alive[(change?.row ?? 0) % Math.max(alive.length, 1)];
          if (change?.what === 'add') alive.push(await list.add(change.to));
          if (row === undefined) return;
          if (change?.what === 'move' && list.move) await list.move(row, change.to);
          else if (change?.what === 'remove' && list.remove) {
            await list.remove(row);
            alive.splice(alive.indexOf(row), 1);
          } else return;
          steady.delete(row);
        });
        const times = new Map<string, number>();
        for (const name of seen) times.set(name, (times.get(name) ?? 0) + 1);
        expect([...steady].filter((row) => times.get(row) !== 1)).toEqual([]);
        for (const row of alive) await (list.remove ?? list.tidyUp)?.(row);
      }),
      { numRuns: 15 },
    );
  });
});
