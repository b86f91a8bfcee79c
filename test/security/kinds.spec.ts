import { randomUUID } from 'node:crypto';
import type { OpenAPIObject } from '@nestjs/swagger';
import { anInstant } from '../../src/kernel/time/instant';
import { anOrder, order, tea } from '../journeys/shop';
import type { Answer, Json } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { builtOpenApi } from './open-api';

interface Member {
  readonly method: string;
  readonly path: string;
  readonly in: 'query' | 'body';
  readonly name: string;
  readonly schema: Record<string, Json>;
}

describe('a value of the wrong kind', () => {
  let shop: TestApp;
  let members: Member[];

  beforeAll(async () => {
    shop = await startApp();
    members = membersOf(await builtOpenApi());
  });
  afterAll(() => shop.close());

  const messageOf = ({ body }: Answer, name: string) =>
    (body['errors'] as { pointer: string; message: string }[] | undefined)?.find(
      ({ pointer }) => pointer === `/${name}`,
    )?.message;

  const send = (member: Member, value: unknown): Promise<Answer> => {
    const path = member.path.replace('{position}', '1').replace(/\{\w+\}/g, randomUUID());
    if (member.in === 'query') return shop.admin.get(`${path}?${member.name}=${encodeURIComponent(String(value))}`);
    const body = { [member.name]: value };
    const headers = { 'if-match': '"1"' };
    if (member.method === 'PATCH') return shop.admin.patch(path, body, headers);
    if (member.method === 'PUT') return shop.admin.put(path, body, headers);
    if (member.method === 'DELETE') return shop.admin.delete(path, body, headers);
    return shop.admin.post(path, body, headers);
  };

  it('is told its kind before its range, for every member of every request', async () => {
    const seen: Record<string, number> = {};
    for (const member of members) {
      const { type, format } = member.schema as { type?: string; format?: string };
      const wrong: [string, unknown[]] | undefined =
        format === 'date-time'
          ? [anInstant, ['yesterday', '2026-02-30T00:00:00Z', '2026-01-31T12:00:00', '1700000000', '']]
          : type === 'integer'
            ? ['a whole number', ['x', '1.5', '', '0x10', '1e1']]
            : type === 'boolean' && member.in === 'body'
              ? ['true or false', ['true', 1]]
              : type === 'array' && member.in === 'body'
                ? ['a list', ['x', {}, 1]]
                : type === 'string' && member.schema['minLength'] !== undefined && member.in === 'body'
                  ? ['text', [1, true, {}, []]]
                  : undefined;
      if (!wrong) continue;
      const others = member.in === 'query' ? [] : format === 'date-time' ? [1_700_000_000, true, {}] : [];
      for (const value of [...wrong[1], ...others]) {
        const answer = await send(member, value);
        const told = { of: `${member.method} ${member.path}`, value, status: answer.status };
        const message = messageOf(answer, member.name);
        expect({ ...told, message }).toEqual({ ...told, status: 400, message: `${member.name} must be ${wrong[0]}` });
      }
      seen[wrong[0]] = (seen[wrong[0]] ?? 0) + 1;
    }
    expect(Object.keys(seen).toSorted()).toEqual(['a list', 'a whole number', anInstant, 'text', 'true or false']);
    expect(seen[anInstant]).toBeGreaterThan(3);
    expect(seen['a whole number']).toBeGreaterThan(15);
    expect(seen['text']).toBeGreaterThan(10);
  });

  it('is told of members of members as well, and a missing one by its name', async () => {
    const lines = [{ productId: tea, quantity: '2' }, { productId: tea }, { productId: tea, quantity: 2_000_000 }];
    const { status, body } = await shop.admin.post('/v1/orders', anOrder({ lines }));
    expect(status).toBe(400);
    expect(body['errors']).toEqual([
      { pointer: '/lines/0/quantity', message: 'quantity must be a whole number' },
      { pointer: '/lines/1/quantity', message: 'quantity is required, and must be a whole number' },
      { pointer: '/lines/2/quantity', message: 'quantity must not be greater than 1000000' },
    ]);
    expect(body['detail']).toBe('quantity must be a whole number.');
  });

  it('keeps the instant that was given, to the millisecond and in whatever zone', async () => {
    const orderedAt = '2026-02-28T23:30:00.250-01:00';
    const { body } = await order(shop.admin, { submit: false, orderedAt });
    expect(body['orderedAt']).toBe('2026-03-01T00:30:00.250Z');
    const future = await shop.admin.post('/v1/orders', anOrder({ orderedAt: '9999-01-01T00:00:00Z' }));
    expect(messageOf(future, 'orderedAt')).toBe('orderedAt must not be in the future');
  });
});

/** Query parameters, and members at the top of bodies. */
function membersOf(document: OpenAPIObject): Member[] {
  const resolve = (schema: Record<string, Json> = {}): Record<string, Json> => {
    const name = (schema['$ref'] as string | undefined)?.split('/').at(-1);
    return name === undefined ? schema : (document.components!.schemas![name] as Record<string, Json>);
  };
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods as Record<string, Record<string, Json>>).flatMap(([verb, operation]) => {
      const method = verb.toUpperCase();
      const parameters = ((operation['parameters'] ?? []) as Json[]).filter((each) => each.in === 'query');
      const content = operation['requestBody']?.content?.['application/json']?.schema as Record<string, Json>;
      const properties = Object.entries((resolve(content)['properties'] ?? {}) as Record<string, Json>);
      return [
        ...parameters
          .filter(() => method === 'GET')
          .map(({ name, schema }): Member => ({ method, path, in: 'query', name, schema })),
        ...properties.map(([name, schema]): Member => ({ method, path, in: 'body', name, schema })),
      ];
    }),
  );
}
