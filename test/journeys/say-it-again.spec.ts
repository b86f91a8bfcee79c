import { randomUUID } from 'node:crypto';
import { idOf } from '../../src/kernel/ids';
import type { Answer, Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { anOrder, expectBooksInOrder, moneyOf, order, query, sencha, stockOf, tea } from './shop';

describe('saying it again', () => {
  let shop: TestApp;
  let ada: Api;
  let eve: Api;

  beforeAll(async () => {
    shop = await startApp();
    [ada, eve] = await Promise.all([shop.customer('Ada'), shop.customer('Eve')]);
  });
  afterAll(() => shop.close());

  const as = (key: string) => ({ 'idempotency-key': key });
  const newKey = () => `key ${randomUUID()}`;
  const replayed = ({ headers }: Answer) => headers.get('idempotent-replayed');
  const forget = () => query(shop, 'delete from gateway.idempotency_keys');

  it('gives the first answer again: status, body, Location and ETag', async () => {
    const key = newKey();
    const first = await ada.post('/v1/orders', anOrder({ submit: false }), as(key));
    const second = await ada.post('/v1/orders', anOrder({ submit: false }), as(key));
    expect(first.status).toBe(201);
    expect(replayed(first)).toBeNull();
    expect(second.status).toBe(201);
    expect(replayed(second)).toBe('true');
    expect(second.body).toEqual(first.body);
    for (const name of ['location', 'etag', 'content-type']) {
      expect(second.headers.get(name)).toBe(first.headers.get(name));
    }
  });

  it('gives the first answer again also when things have moved on', async () => {
    const key = newKey();
    const first = await ada.post('/v1/orders', anOrder({ submit: false }), as(key));
    await ada.post(`/v1/orders/${first.body['id']}/cancel`);
    const second = await ada.post('/v1/orders', anOrder({ submit: false }), as(key));
    expect(second.body).toEqual(first.body);
    expect(second.body).toMatchObject({ status: 'draft' });
  });

  it('opens one account, whose answer is not kept: it has a name and an address in it', async () => {
    const key = newKey();
    const open = (name: string) =>
      shop.admin.post('/v1/users', { email: `${name.toLowerCase()}-told-twice@example.com`, name }, as(key));
    const both = await Promise.all([open('Emmy'), open('Emmy')]);
    const answers = [...both, await open('Emmy')];
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 201]);
    expect(answers.map(({ body }) => body as unknown)).toEqual(answers.map(() => answers[0]!.body as unknown));
    // another wish is another wish
    expect((await open('Sofia')).body['id']).not.toBe(answers[0]!.body['id']);
    expect(await query(shop, `select from gateway.idempotency_keys where body::text like '%told-twice%'`)).toEqual([]);
    expect(await query(shop, `select from users.users where email like '%told-twice%'`)).toHaveLength(2);
  });

  it('gives a refusal again', async () => {
    const key = newKey();
    const body = { lines: [{ productId: randomUUID(), quantity: 1 }] };
    const first = await ada.post('/v1/orders', body, as(key));
    const second = await ada.post('/v1/orders', body, as(key));
    expect(first.status).toBe(422);
    expect(second).toMatchObject({ status: 422, body: first.body });
    expect(replayed(second)).toBe('true');
    expect(second.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  });

  it('forgets a request that was malformed: put right, it may come again with its key', async () => {
    const key = newKey();
    const wrong = await ada.post('/v1/orders', anOrder({ lines: [{ productId: tea, quantity: 0 }] }), as(key));
    expect(wrong.status).toBe(400);
    const right = await ada.post('/v1/orders', anOrder(), as(key));
    expect(right.status).toBe(202);
    expect(replayed(right)).toBeNull();
  });

  it('refuses another body under the same key', async () => {
    const key = newKey();
    await ada.post('/v1/orders', anOrder(), as(key));
    const other = await ada.post('/v1/orders', anOrder({ paymentMethod: 'sandbox_slow' }), as(key));
    expect(other).toMatchObject({ status: 422, body: { code: 'idempotency-key-reused' } });
  });

  it('is the same request with its members in another order, at every depth', async () => {
    const key = newKey();
    const turned = (value: unknown): unknown =>
      typeof value !== 'object' || value === null || Array.isArray(value)
        ? value
        : Object.fromEntries(
            Object.entries(value)
              .toReversed()
              .map(([name, member]) => [name, turned(member)]),
          );
    const body = anOrder({ submit: false, reference: 'turned' });
    const first = await ada.post('/v1/orders', body, as(key));
    expect(JSON.stringify(turned(body))).not.toBe(JSON.stringify(body));
    const second = await ada.post('/v1/orders', turned(body), as(key));
    expect(second).toMatchObject({ status: 201, body: first.body });
    expect(replayed(second)).toBe('true');
    await forget();
    expect(await ada.post('/v1/orders', turned(body), as(key))).toMatchObject({ status: 201, body: first.body });
    // the order of a list has a meaning
    const lines = [...(body['lines'] as object[]), { productId: sencha, quantity: 1 }];
    const listed = newKey();
    await ada.post('/v1/orders', { ...body, lines }, as(listed));
    expect((await ada.post('/v1/orders', { ...body, lines: lines.toReversed() }, as(listed))).status).toBe(422);
  });

  it('has one address: a query that the operation does not know makes no second order', async () => {
    const [key, reference] = [newKey(), randomUUID()];
    await ada.post('/v1/orders', anOrder({ reference }), as(key));
    const second = await ada.post('/v1/orders?attempt=2', anOrder({ reference }), as(key));
    expect(second).toMatchObject({
      status: 400,
      body: { code: 'validation', errors: [{ pointer: '/attempt', message: expect.stringContaining('attempt') }] },
    });
    expect(await shop.admin.all(`/v1/orders?reference=${reference}`)).toHaveLength(1);
  });

  it('is another request with another query, where the operation takes one', async () => {
    const key = newKey();
    const path = '/v1/operations/dead-letters/none/1/replay';
    const planned = await shop.admin.post(`${path}?dryRun=true`, {}, as(key));
    expect(planned.status).toBe(404);
    expect(await shop.admin.post(`${path}?dryRun=true`, {}, as(key))).toEqual({
      ...planned,
      headers: expect.anything(),
    });
    expect(await shop.admin.post(path, {}, as(key))).toMatchObject({ status: 422 });
  });

  it('is 400 for a number that a double cannot hold', async () => {
    const response = await fetch(`${shop.url}/v1/orders`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ada.token}`, 'content-type': 'application/json', ...as(newKey()) },
      body: `{"lines":[{"productId":"${tea}","quantity":1e400}]}`,
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ code: 'number-too-large' });
  });

  describe('to the release before, whose fingerprints were of the text of the body', () => {
    const formerly = async (key: string, body: unknown) => {
      const first = await ada.post('/v1/orders', body, as(key));
      const fingerprint = idOf(JSON.stringify(body));
      await query(
        shop,
        `update gateway.idempotency_keys set fingerprint = $1 where fingerprint = (
           select metadata ->> 'request' from event_store.events where aggregate_id = $2 and version = 1)`,
        [fingerprint, first.body['id']],
      );
      await query(
        shop,
        `alter table event_store.events disable trigger user;
         update event_store.events set metadata = jsonb_set(metadata, '{request}', '"${fingerprint}"')
         where aggregate_id = '${first.body['id'] as string}' and metadata ? 'request';
         alter table event_store.events enable trigger user`,
      );
      return first;
    };

    it('gets its answer from this one', async () => {
      const [key, body] = [newKey(), { submit: false, lines: [{ quantity: 2, productId: tea }] }];
      const first = await formerly(key, body);
      const second = await ada.post('/v1/orders', body, as(key));
      expect(second).toMatchObject({ status: 201, body: first.body });
      expect(replayed(second)).toBe('true');
      expect((await ada.post('/v1/orders', { ...body, reference: 'other' }, as(key))).status).toBe(422);
    });

    it('finds what it did, also when its answer is gone', async () => {
      const [key, body] = [newKey(), { submit: false, lines: [{ quantity: 2, productId: tea }] }];
      const first = await formerly(key, body);
      await forget();
      expect(await ada.post('/v1/orders', body, as(key))).toMatchObject({
        status: 201,
        body: { id: first.body['id'] },
      });
      await forget();
      expect((await ada.post('/v1/orders', { ...body, reference: 'other' }, as(key))).status).toBe(422);
    });

    it('is taken over when it died with its process', async () => {
      const [key, body] = [newKey(), { submit: false, lines: [{ quantity: 2, productId: tea }] }];
      const first = await formerly(key, body);
      await query(
        shop,
        `update gateway.idempotency_keys set status = null, locked_until = now() - interval '1 s' where fingerprint = $1`,
        [idOf(JSON.stringify(body))],
      );
      expect(await ada.post('/v1/orders', body, as(key))).toMatchObject({
        status: 201,
        body: { id: first.body['id'] },
      });
    });
  });

  it('means something else on another route', async () => {
    const key = newKey();
    const draft = await ada.post('/v1/orders', anOrder({ submit: false }), as(key));
    const added = await ada.post(`/v1/orders/${draft.body['id']}/lines`, { productId: sencha, quantity: 1 }, as(key));
    expect(added).toMatchObject({ status: 201, body: { lineCount: 2 } });
  });

  it('means something else by somebody else, who learns nothing of the first', async () => {
    const key = newKey();
    const hers = await ada.post('/v1/orders', anOrder(), as(key));
    const other = await eve.post('/v1/orders', anOrder(), as(key));
    expect(other.status).toBe(202);
    expect(replayed(other)).toBeNull();
    expect(other.body['id']).not.toBe(hers.body['id']);
    expect(other.body['customerId']).not.toBe(hers.body['customerId']);
    expect(await eve.post('/v1/orders', anOrder({ submit: false }), as(key))).toMatchObject({ status: 422 });
  });

  it('wants a key where money or stock moves', async () => {
    const { body } = await order(ada, { submit: false });
    for (const [api, path, sent] of [
      [ada, '/v1/orders', anOrder()],
      [ada, `/v1/orders/${body['id']}/lines`, { productId: tea, quantity: 1 }],
      [ada, `/v1/orders/${body['id']}/submit`, {}],
      [ada, `/v1/orders/${body['id']}/cancel`, {}],
      [shop.admin, '/v1/products', { sku: 'NEW', name: 'New', price: { amountMinor: 1, currency: 'EUR' } }],
      [shop.admin, `/v1/products/${tea}/stock-adjustments`, { delta: 1, reason: 'found' }],
    ] as const) {
      const bare = await fetch(shop.url + path, {
        method: 'POST',
        headers: { authorization: `Bearer ${api.token}`, 'content-type': 'application/json' },
        body: JSON.stringify(sent),
      });
      expect(bare.status).toBe(400);
      expect(await bare.json()).toMatchObject({ code: 'idempotency-key-required' });
    }
    expect((await ada.get(`/v1/orders/${body['id']}`)).body).toMatchObject({ status: 'draft', version: 1 });
  });

  it('wants one of 1 to 255 characters', async () => {
    for (const key of ['', 'k'.repeat(256), 'k'.repeat(8000)]) {
      const answer = await ada.post('/v1/orders', anOrder({ submit: false }), as(key));
      expect(answer).toMatchObject({ status: 400, body: { code: 'idempotency-key-malformed' } });
    }
    for (const key of ['k', 'k'.repeat(255), '"quoted"', 'ümläut']) {
      expect((await ada.post('/v1/orders', anOrder({ submit: false }), as(key))).status).toBe(201);
    }
  });

  describe('many times at once', () => {
    /** All answers are the one answer, or say that it is on its way. */
    const theOne = (answers: readonly Answer[], status: number) => {
      const done = answers.filter((answer) => answer.status === status);
      const others = answers.filter((answer) => answer.status !== status);
      for (const answer of others) {
        expect(answer).toMatchObject({ status: 409, body: { code: 'request-in-progress' } });
        expect(answer.headers.get('retry-after')).toBe('1');
      }
      expect(done.filter((answer) => replayed(answer) === null)).toHaveLength(1);
      for (const answer of done) expect(answer.body).toEqual(done[0]!.body);
      return done[0]!;
    };
    const times = <T>(work: () => Promise<T>) => Promise.all(Array.from({ length: 20 }, work));

    it('makes one order and charges once', async () => {
      const [key, reference] = [newKey(), randomUUID()];
      const placed = theOne(await times(() => ada.post('/v1/orders', anOrder({ reference }), as(key))), 202);
      await shop.settled();
      const { body } = await shop.admin.get(`/v1/orders?reference=${reference}`);
      expect(body['data']).toMatchObject([{ id: placed.body['id'], status: 'fulfilling' }]);
      expect(await moneyOf(shop, placed.body['id'])).toEqual({ charges: 1, keptMinor: 2500 });
      const later = await ada.post('/v1/orders', anOrder({ reference }), as(key));
      expect(later.body).toEqual(placed.body);
    });

    it('adds one line', async () => {
      const [key, draft] = [newKey(), await order(ada, { submit: false })];
      const path = `/v1/orders/${draft.body['id']}`;
      theOne(await times(() => ada.post(`${path}/lines`, { productId: tea, quantity: 1 }, as(key))), 201);
      expect((await ada.get(path)).body).toMatchObject({ version: 2, lineCount: 2 });
    });

    it('moves stock once', async () => {
      const [key, before] = [newKey(), await stockOf(shop, sencha)];
      const path = `/v1/products/${sencha}/stock-adjustments`;
      theOne(await times(() => shop.admin.post(path, { delta: 7, reason: 'delivery' }, as(key))), 201);
      expect((await stockOf(shop, sencha)).onHand).toBe(before.onHand + 7);
    });

    it('makes one product', async () => {
      const key = newKey();
      const product = { sku: newKey(), name: 'New', price: { amountMinor: 1, currency: 'EUR' } };
      theOne(await times(() => shop.admin.post('/v1/products', product, as(key))), 201);
      const { body } = await shop.admin.get(`/v1/products?sku=${encodeURIComponent(product.sku)}`);
      expect(body['data']).toHaveLength(1);
    });
  });

  describe('when the answer was lost with its table', () => {
    it('finds the order that it made', async () => {
      const key = newKey();
      const first = await ada.post('/v1/orders', anOrder(), as(key));
      await shop.settled();
      await forget();
      const second = await ada.post('/v1/orders', anOrder(), as(key));
      expect(replayed(second)).toBeNull();
      expect(second).toMatchObject({ status: 202, body: { id: first.body['id'], status: 'fulfilling' } });
      await shop.settled();
      expect(await moneyOf(shop, first.body['id'])).toEqual({ charges: 1, keptMinor: 2500 });
    });

    it('finds it also when there is nothing left to sell', async () => {
      const { body } = await shop.admin.post('/v1/products', {
        sku: 'ONE',
        name: 'The only one',
        price: { amountMinor: 100, currency: 'EUR' },
      });
      await shop.admin.post(`/v1/products/${body['id']}/stock-adjustments`, { delta: 1, reason: 'made' });
      const [key, wanted] = [newKey(), anOrder({ lines: [{ productId: body['id'] as string, quantity: 1 }] })];
      const first = await ada.post('/v1/orders', wanted, as(key));
      await shop.settled();
      await forget();
      expect(await ada.post('/v1/orders', wanted, as(key))).toMatchObject({
        status: 202,
        body: { id: first.body['id'], status: 'fulfilling' },
      });
    });

    it('adds no second line, not even to an order that has been placed since', async () => {
      const [key, draft] = [newKey(), await order(ada, { submit: false })];
      const path = `/v1/orders/${draft.body['id']}`;
      const line = { productId: tea, quantity: 1 };
      await ada.post(`${path}/lines`, line, as(key));
      await forget();
      expect(await ada.post(`${path}/lines`, line, as(key))).toMatchObject({ status: 201, body: { lineCount: 2 } });
      await ada.post(`${path}/submit`);
      await forget();
      expect(await ada.post(`${path}/lines`, line, as(key))).toMatchObject({ status: 201, body: { lineCount: 2 } });
    });

    it('does not bring back a line that was removed since', async () => {
      const [key, draft] = [newKey(), await order(ada, { submit: false })];
      const path = `/v1/orders/${draft.body['id']}`;
      const line = { productId: tea, quantity: 1 };
      const added = await ada.post(`${path}/lines`, line, as(key));
      await ada.delete(`${path}/lines/${added.body['lines'][1].lineId}`);
      await forget();
      expect(await ada.post(`${path}/lines`, line, as(key))).toMatchObject({ status: 201, body: { lineCount: 1 } });
    });

    it('cancels and submits no second time', async () => {
      const [key, draft] = [newKey(), await order(ada, { submit: false })];
      const path = `/v1/orders/${draft.body['id']}`;
      await ada.post(`${path}/submit`, {}, as(key));
      await shop.settled();
      await ada.post(`${path}/cancel`);
      await shop.settled();
      await forget();
      expect(await ada.post(`${path}/submit`, {}, as(key))).toMatchObject({
        status: 202,
        body: { status: 'cancelled' },
      });
    });

    it('moves no stock again, and makes no product again', async () => {
      const key = newKey();
      const product = { sku: newKey(), name: 'New', price: { amountMinor: 1, currency: 'EUR' } };
      const made = await shop.admin.post('/v1/products', product, as(key));
      const path = `/v1/products/${made.body['id']}/stock-adjustments`;
      await shop.admin.post(path, { delta: 7, reason: 'delivery' }, as(key));
      await forget();
      const again = await shop.admin.post('/v1/products', product, as(key));
      expect(again).toMatchObject({ status: 201, body: { id: made.body['id'] } });
      expect(await shop.admin.post(path, { delta: 7, reason: 'delivery' }, as(key))).toMatchObject({
        status: 201,
        body: { onHand: 7 },
      });
    });
  });

  it('leaves the books in order', () => expectBooksInOrder(shop));
});
