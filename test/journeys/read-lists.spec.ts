import type { OpenAPIObject } from '@nestjs/swagger';
import { builtOpenApi } from '../security/open-api';
import type { Api, Json } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { account, order, ordersOf, type Row, sencha, tea, waiting } from './shop';

const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

describe('a list', () => {
  let shop: TestApp;
  let ada: Api;
  let document: OpenAPIObject;
  let shipped: Row;
  let cancelled: Row;
  let draft: Row;

  beforeAll(async () => {
    [shop, document] = await Promise.all([startApp(), builtOpenApi()]);
    ada = await account(shop);
    shipped = await ordersOf(ada, await order(ada, {}, waiting));
    await shop.admin.post(`/v1/shipments/${shipped['shipmentId']}/dispatch`);
    cancelled = await ordersOf(ada, await order(ada, { paymentMethod: 'sandbox_declined' }, waiting));
    draft = (await order(ada, { submit: false })).body;
    await shop.settled();
  });
  afterAll(() => shop.close());

  const ids = async (path: string, api = shop.admin) =>
    ((await api.get(path)).body['data'] as Row[]).map(({ id }) => id as string).toSorted();
  const sorted = (...rows: Row[]) => rows.map(({ id }) => id as string).toSorted();

  /** Operations without parameters in their path that answer with a list. */
  const lists = () =>
    Object.entries(document.paths).flatMap(([path, { get }]) => {
      const schema = (get?.responses['200'] as Json)?.content?.['application/json']?.schema;
      return schema?.properties?.data?.type === 'array' && !path.includes('{') ? [path] : [];
    });

  it('has the form { data, page } in the document, whatever the operation', () => {
    const bare = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.entries(item as Record<string, Json>).flatMap(([method, { responses }]) => {
        const found = Object.entries(responses as Record<string, Json>).filter(([status, { content }]) => {
          const { type, properties } = content?.['application/json']?.schema ?? {};
          return status < '3' && (type === 'array' || (properties?.data && !properties.page));
        });
        return found.map(([status]) => `${method} ${path} ${status}`);
      }),
    );
    expect(bare).toEqual([]);
    expect(lists().length).toBeGreaterThan(9);
  });

  it('has that form in responses too, and instants in RFC 3339 and UTC in everything it shows', async () => {
    let instants = 0;
    const check = (value: unknown, where: string): void => {
      if (typeof value !== 'object' || value === null) return;
      for (const [name, member] of Object.entries(value)) {
        const isInstant = /(?:At|^at|^since|^timestamp|^asOf)$/.test(name) && member !== null;
        if (isInstant)
          expect([`${where}/${name}`, member]).toEqual([`${where}/${name}`, expect.stringMatching(instant)]);
        if (isInstant) instants++;
        check(member, `${where}/${name}`);
      }
    };
    const { id } = shipped as { id: string };
    const paths = [...lists(), `/v1/orders/${id}/events`, `/v1/orders/${id}/timeline`];
    for (const path of [...paths, `/v1/products/${tea}/stock-movements`]) {
      const { status, body } = await shop.admin.get(path);
      expect({ path, status, body }).toEqual({
        path,
        status: 200,
        body: { data: expect.any(Array), page: { next: body['page'].next, hasMore: body['page'].next !== null } },
      });
      check(body['data'], path);
    }
    for (const path of [`/v1/orders/${id}`, `/v1/payments/${shipped['paymentId']}`, '/v1/users/me']) {
      check((await shop.admin.get(path)).body, path);
    }
    expect(instants).toBeGreaterThan(80);
  });

  it('takes several statuses, separated by commas', async () => {
    expect(await ids('/v1/orders?status=shipped,cancelled', ada)).toEqual(sorted(shipped, cancelled));
    expect(await ids('/v1/orders?status=cancelled, draft', ada)).toEqual(sorted(cancelled, draft));
    expect(await ids('/v1/orders?status=draft', ada)).toEqual(sorted(draft));
    expect(await ids('/v1/orders?status=paid,reserved', ada)).toEqual([]);
    const { paymentId, shipmentId } = shipped as Record<string, string>;
    expect(await ids('/v1/payments?status=completed,refunded')).toEqual([paymentId]);
    expect(await ids('/v1/payments?status=completed,failed')).toEqual([paymentId, cancelled['paymentId']].toSorted());
    expect(await ids('/v1/shipments?status=dispatched,delivered')).toEqual([shipmentId]);
    expect(await ids('/v1/shipments?status=created')).toEqual([]);
    expect(await ids('/v1/operations/sagas?status=completed,compensated')).toHaveLength(2);
    expect(await ids('/v1/operations/sagas?status=parked,compensated')).toHaveLength(1);
    expect(await ids('/v1/operations/dead-letters?state=failed,parked')).toEqual([]);
  });

  it('refuses a status that there is not, one given twice, and the parameter repeated: it says what it takes', async () => {
    const parameters = Object.entries(document.paths).flatMap(([path, { get }]) =>
      ((get?.parameters ?? []) as Json[])
        .filter(({ schema }) => schema.type === 'array')
        .map((each) => ({ path, each })),
    );
    expect(parameters.map(({ path, each }) => `${path} ${each.name}`).toSorted()).toEqual([
      '/v1/operations/dead-letters state',
      '/v1/operations/sagas status',
      '/v1/orders status',
      '/v1/payments status',
      '/v1/shipments status',
    ]);
    for (const { path, each } of parameters) {
      const { name, schema, style, explode } = each as { name: string; schema: Json; style: string; explode: boolean };
      expect({ style, explode }).toEqual({ style: 'form', explode: false });
      const [first, second] = schema.items.enum as string[];
      expect((await shop.admin.get(`${path}?${name}=${first},${second}`)).status).toBe(200);
      for (const wrong of ['', 'x', `${first},`, `${first},x`, `${first},${first}`, `${first}&${name}=${second}`]) {
        const { status, body } = await shop.admin.get(`${path}?${name}=${wrong}`);
        expect({ path, wrong, status, body }).toMatchObject({
          status: 400,
          body: { errors: [{ pointer: `/${name}`, message: expect.stringContaining('separated by commas') }] },
        });
      }
    }
  });

  it('of products can be sorted by sku, name, price and time, from either end', async () => {
    const by = async (sort: string, member: (row: Row) => unknown) =>
      ((await shop.admin.get(`/v1/products?sort=${sort}`)).body['data'] as Row[]).map(member);
    expect(await by('price', ({ price }) => price.amountMinor)).toEqual([1250, 1690, 2400, 5900, 9900]);
    expect(await by('-price', ({ price }) => price.amountMinor)).toEqual([9900, 5900, 2400, 1690, 1250]);
    const names = await by('name', ({ name }) => name);
    expect(names).toEqual(names.toSorted());
    expect(await by('-name', ({ name }) => name)).toEqual(names.toReversed());
    const skus = await by('sku', ({ sku }) => sku);
    expect((await shop.admin.get('/v1/products')).body['data'].map(({ sku }: Row) => sku as string)).toEqual(skus);
    const added = await shop.admin.post('/v1/products', {
      sku: 'A-1',
      name: 'Last',
      price: { amountMinor: 1, currency: 'EUR' },
    });
    expect((await by('-createdAt', ({ id }) => id))[0]).toBe(added.body['id']);
    for (const sort of ['', '-available', 'sku,name']) {
      expect((await shop.admin.get(`/v1/products?sort=${sort}`)).status).toBe(400);
    }
  });

  it('of sagas and of events is found by order and by request', async () => {
    const placed = await order(ada, { lines: [{ productId: sencha, quantity: 1 }] }, waiting);
    await shop.settled();
    const [id, request] = [placed.body['id'] as string, placed.headers.get('x-request-id')!];
    const sagas = '/v1/operations/sagas';
    const [saga] = (await shop.admin.get(`${sagas}?subject=${id}`)).body['data'] as Row[];
    expect(saga).toMatchObject({ subject: id, correlationId: request, status: 'completed' });
    expect(await ids(`${sagas}?correlationId=${request}`)).toEqual([saga!['id']]);
    expect((await shop.admin.get(`${sagas}/${saga!['id']}`)).body).toEqual(saga);
    const events = await shop.admin.all(`/v1/operations/events?correlationId=${request}`);
    const types = events.map(({ eventType }) => eventType as string);
    for (const type of ['order.created', 'stock.reserved', 'payment.completed', 'shipment.created', 'saga.completed']) {
      expect(types).toContain(type);
    }
    for (const { correlationId } of events) expect(correlationId).toBe(request);
    expect(await ids(`${sagas}?subject=${draft['id']}`)).toEqual([]);
    expect(await ids(`${sagas}?correlationId=${draft['id']}`)).toEqual([]);
    expect(await ids(`/v1/operations/events?correlationId=nothing`)).toEqual([]);
  });
});
