import { randomUUID } from 'node:crypto';
import { getMetadataStorage } from 'class-validator';
import type { OpenAPIObject } from '@nestjs/swagger';
import { account, address, order, tea } from '../journeys/shop';
import { Api, type Json } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { documentedStatuses } from '../support/documented';
import { builtOpenApi } from './open-api';
import { operationsOf } from './operations';

describe('the OpenAPI document', () => {
  let document: OpenAPIObject;
  let shop: TestApp;
  let ada: Api;

  beforeAll(async () => {
    document = await builtOpenApi();
    shop = await startApp();
    ada = await account(shop);
  });
  afterAll(() => shop.close());

  it('says integer of every number that is validated as one', () => {
    const schemas = document.components!.schemas as Record<string, Json>;
    const all = [...(getMetadataStorage() as Json).validationMetadatas.values()].flat();
    const integers = all
      .filter(({ name }) => name === 'isInt')
      .map(({ target, propertyName }) => ({ target, propertyName }));
    let inBodies = 0;
    for (const { target, propertyName } of integers) {
      const property = schemas[target.name as string]?.properties?.[propertyName as string];
      if (!property) continue;
      inBodies++;
      expect({ of: `${target.name}.${propertyName}`, type: property.type }).toMatchObject({ type: 'integer' });
    }
    expect(inBodies).toBeGreaterThan(3);
    const types = JSON.stringify(document).match(/"type":"(number|integer)"[^}]*/g)!;
    expect(types.length).toBeGreaterThan(30);
    const fractions = types.filter((type) => type.includes('"number"'));
    expect(fractions.filter((type) => !type.includes('"format":"double"'))).toEqual([]);
    expect(fractions.length).toBeLessThan(4);
  });

  it('names what the gateway may answer, for every operation', () => {
    const operations = operationsOf(document);
    expect(operations.length).toBeGreaterThan(35);
    for (const { name, method, path, access } of operations) {
      const statuses = documentedStatuses(document, method, path);
      const expected = [
        400,
        408,
        431,
        503,
        ...(access.role === 'anyone' ? [] : [401, 403]),
        ...(method === 'GET' ? [] : [413, 415]),
      ];
      if (!/^\/(health|metrics)/.test(path)) expected.push(429);
      if (path.includes('{')) expected.push(404, 414);
      expect({ name, statuses }).toMatchObject({ statuses: expect.arrayContaining(expected) });
    }
    expect(documentedStatuses(document, 'PATCH', '/v1/users/me')).toContain(409);
    expect(documentedStatuses(document, 'GET', '/v1/nowhere')).toBeUndefined();
  });

  it('names every status that a request gets', async () => {
    const { body } = await order(ada, { submit: false });
    const line = `/v1/orders/${body['id']}/lines/${body['lines'][0].lineId}`;
    const key = { 'idempotency-key': randomUUID() };
    await ada.post('/v1/orders', {}, key);
    const erased = await account(shop);
    await erased.delete('/v1/users/me');
    const anonymous = new Api(shop.url);
    const json = { 'content-type': 'application/json' };
    const seen: Record<string, number[]> = {};
    const requests: [string, string, Api, unknown?, Record<string, string>?][] = [
      ['GET', '/v1/products', anonymous],
      ['GET', '/v1/products?text=%ff', anonymous],
      ['GET', '/health/live?x=%ff', anonymous],
      ['GET', '/metrics?x=%ff', anonymous],
      ['GET', `/v1/products/${'x'.repeat(200)}`, anonymous],
      ['GET', `/v1/orders/${'x'.repeat(200)}`, ada],
      ['GET', '/v1/orders/', anonymous],
      ['GET', '/v1/users', ada],
      ['POST', '/v1/orders', ada, { reference: 'other' }, key],
      ['POST', '/v1/orders', ada, { reference: 'x'.repeat(1 << 20) }],
      ['POST', '/v1/orders', ada, {}, { 'content-type': 'text/plain' }],
      ['POST', `/v1/orders/${body['id']}/simulate`, ada, { commands: [{ action: 'submit' }] }],
      ['POST', `/v1/orders/${body['id']}/submit`, ada, { paymentMethod: '' }],
      ['PATCH', line, ada, { quantity: 3 }, { 'if-match': 'W/"1"' }],
      ['PATCH', line, ada, { quantity: 3 }, { 'if-match': '1' }],
      ['PATCH', line, ada, { quantity: 3 }],
      ['DELETE', `${line}/`, ada],
      ['DELETE', line, ada, { x: 1 }, { 'content-type': 'text/plain' }],
      ['PUT', `/v1/orders/${body['id']}/shipping-address`, ada, address],
      ['PUT', `/v1/orders/${body['id']}/shipping-address`, ada, { ...address, name: 'x'.repeat(1 << 20) }],
      ['PATCH', '/v1/users/me', ada, { name: 'x' }],
      ['PATCH', '/v1/users/me', ada, { name: 'x' }, { 'if-match': '"9"' }],
      ['PATCH', '/v1/users/me', erased, { name: 'x' }, { 'if-match': '"3"' }],
      ['DELETE', `/v1/orders/${body['id']}/guest`, ada],
      ['POST', `/v1/products/${tea}/stock-adjustments`, ada, { delta: 1, reason: 'x' }],
      ['POST', '/v1/auth/token', anonymous, { username: 'x' }],
      ['POST', '/v1/auth/token', anonymous, { username: 'x', password: 'y' }],
      ['POST', '/v1/auth/register', anonymous, 'x'],
      ['POST', '/v1/operations/dead-letters/replay', shop.admin, {}],
      ['POST', '/v1/operations/subscriptions/%00/pause', shop.admin],
      ['POST', '/v1/operations/subscriptions/none/pause', shop.admin],
      ['GET', `/v1/operations/dead-letters/none/-${2 ** 53}`, shop.admin],
    ];
    for (const [method, path, api, sent, headers] of requests) {
      const response = await fetch(api.url + path, {
        method,
        body: sent === undefined ? undefined : JSON.stringify(sent),
        headers: {
          ...(sent !== undefined && json),
          'idempotency-key': randomUUID(),
          ...(api.token && { authorization: `Bearer ${api.token}` }),
          ...headers,
        },
      });
      await response.arrayBuffer();
      const { status } = response;
      const documented = documentedStatuses(document, method, path) ?? [];
      expect({ request: `${method} ${path.slice(0, 80)}`, status, documented }).toMatchObject({
        documented: expect.arrayContaining([status]),
      });
      (seen[status] ??= []).push(status);
    }
    const expected = [200, 201, 202, 400, 401, 403, 404, 409, 412, 413, 414, 415, 422, 428];
    expect(Object.keys(seen).map(Number)).toEqual(expect.arrayContaining(expected.filter((status) => status !== 201)));
  });
});
