import { randomUUID } from 'node:crypto';
import { account } from '../journeys/shop';
import { Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { builtOpenApi } from './open-api';
import { type Operation, operationsOf } from './operations';

describe('a query parameter that the operation does not declare', () => {
  let shop: TestApp;
  let operations: Operation[];

  beforeAll(async () => {
    shop = await startApp();
    operations = operationsOf(await builtOpenApi());
  });
  afterAll(() => shop.close());

  const call = async (api: Api, { method, path, body }: Operation, query: string) => {
    const response = await fetch(`${shop.url}${path.replace(/\{\w+\}/g, randomUUID())}?${query}`, {
      method,
      headers: {
        'idempotency-key': randomUUID(),
        ...(body && { 'content-type': 'application/json' }),
        ...(api.token && { authorization: `Bearer ${api.token}` }),
      },
      body: body && JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };

  it('is 400 on every operation, which says what it takes', async () => {
    expect(operations.length).toBeGreaterThan(45);
    for (const operation of operations) {
      for (const query of ['attempt=2', 'a/b~=', ...operation.query.map((name) => `${name.toUpperCase()}=1`)]) {
        const { status, body } = await call(shop.admin, operation, query);
        const pointer = `/${query.split('=')[0]!.replace('a/b~', 'a~1b~0')}`;
        expect({ of: operation.name, query, status, body }).toMatchObject({
          status: 400,
          body: { code: 'validation', errors: [{ pointer, message: expect.stringContaining('should not exist') }] },
        });
        for (const name of operation.query) expect(JSON.stringify(body['errors'])).toContain(name);
      }
    }
  });

  it('is not what somebody hears first who may not use the operation at all', async () => {
    const customer = await account(shop);
    for (const operation of operations.filter(({ access }) => access.role !== 'anyone')) {
      expect((await call(new Api(shop.url), operation, 'attempt=2')).status).toBe(401);
      expect([400, 403]).toContain((await call(customer, operation, 'attempt=2')).status);
    }
  });
});
