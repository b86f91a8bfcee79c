import { createHmac, randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Controller, Get, Module } from '@nestjs/common';
import { DiscoveryModule, NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { DeclaredAccess } from '../../src/gateway/authentication/declared-access';
import { scopes } from '../../src/kernel/http/scopes';
import { account, idOf, order, sessionFor } from '../journeys/shop';
import { type Answer, Api } from '../support/api';
import { startApp, tokenSecret, type TestApp } from '../support/app';
import { IdentityProvider } from '../support/identity-provider';
import { authorizationTable } from './authorization-table';
import { builtOpenApi } from './open-api';
import { type Operation, operationsOf } from './operations';

/** Who the matrix has a column for, and makes one anew where an operation would end the last one. */
const everybody = [
  'anonymous',
  'expired',
  'deactivated',
  'owner',
  'stranger',
  'staff',
  'admin',
  'key',
  'narrow key',
  'provider’s customer',
  'provider’s admin',
  'provider’s narrow admin',
  'provider’s expired',
] as const;
type Who = (typeof everybody)[number];
/** Who has only the scope shipments:read. */
const narrow: readonly Who[] = ['narrow key', 'provider’s narrow admin'];

/** What the guard may say: anything else is said by the operation itself, to somebody who may call it. */
const refusals = ['unauthenticated', 'forbidden', 'scope-missing', 'sign-in-required'];

describe('the authorization matrix', () => {
  let provider: IdentityProvider;
  let shop: TestApp;
  let operations: Operation[];
  let signedIn: Record<Who, Api>;
  /** Paths whose ids are those of something that belongs to the owner. */
  let owned: Record<string, Record<string, string>>;

  beforeAll(async () => {
    provider = await IdentityProvider.start();
    shop = await startApp({ env: { ...provider.env, OIDC_ROLES: 'owners=admin' } });
    operations = operationsOf(await builtOpenApi());
    const owner = await account(shop);
    const admin = await account(shop, ['admin']);
    signedIn = {
      anonymous: new Api(shop.url),
      expired: new Api(shop.url, expired(owner.token!)),
      deactivated: await deactivated(),
      owner,
      stranger: await account(shop),
      staff: await account(shop, ['staff']),
      admin,
      key: await keyOf(admin, Object.keys(scopes)),
      'narrow key': await keyOf(admin, ['shipments:read']),
      'provider’s customer': await fromProvider(),
      'provider’s admin': await fromProvider({ roles: ['owners'] }),
      'provider’s narrow admin': await fromProvider({ roles: ['owners'], scope: 'openid shipments:read' }),
      'provider’s expired': await fromProvider({ roles: ['owners'], exp: Math.floor(Date.now() / 1000) - 3600 }),
    };
    const draft = (await order(owner, { submit: false })).body;
    const key = await owner.post('/v1/api-keys', { name: 'key', scopes: ['orders:read'] });
    owned = {
      '/v1/orders/{id}': { id: draft['id'], lineId: draft['lines'][0].lineId },
      '/v1/users/me/sessions/{id}': { id: await sessionFor(shop, owner) },
      '/v1/api-keys/{id}': { id: key.body['id'] as string },
    };
  });
  afterAll(async () => {
    await shop.close();
    await provider.stop();
  });

  async function fromProvider(claims: Record<string, unknown> = {}): Promise<Api> {
    return new Api(shop.url, await provider.token({ claims }));
  }

  async function deactivated(): Promise<Api> {
    const api = await account(shop);
    await shop.admin.post(`/v1/users/${await idOf(api)}/deactivate`);
    return api;
  }

  async function keyOf(api: Api, allowed: string[]): Promise<Api> {
    const { body } = await api.post('/v1/api-keys', { name: 'matrix', scopes: allowed });
    return new Api(shop.url, body['key'] as string);
  }

  /** The same token, signed by us, an hour after its end. */
  function expired(token: string): string {
    const [header, claims] = token.split('.') as [string, string];
    const changed = { ...JSON.parse(Buffer.from(claims, 'base64url').toString()), exp: Date.now() / 1000 - 3600 };
    const text = `${header}.${Buffer.from(JSON.stringify(changed)).toString('base64url')}`;
    return `${text}.${createHmac('sha256', tokenSecret).update(text).digest('base64url')}`;
  }

  /** Somebody who may end with this call ends alone. */
  async function as(who: Who, { method, path }: Operation): Promise<Api> {
    if (method === 'GET' || !path.startsWith('/v1/users/me')) return signedIn[who];
    if (who === 'provider’s customer') return fromProvider();
    if (who === 'provider’s admin') return fromProvider({ roles: ['owners'] });
    const roles = { owner: 'customer', stranger: 'customer', staff: 'staff', admin: 'admin' } as const;
    return who in roles ? account(shop, [roles[who as keyof typeof roles]]) : signedIn[who];
  }

  const idsOf = ({ path }: Operation) => Object.entries(owned).find(([prefix]) => path.startsWith(prefix))?.[1];

  function call(api: Api, operation: Operation, ids: Record<string, string> = {}): Promise<Answer> {
    const { method, path, body } = operation;
    const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => {
      return ids[name] ?? (name === 'position' ? '1' : randomUUID());
    });
    const sent = body && { ...body, unitPrice: undefined };
    const headers = { 'if-match': '*', 'idempotency-key': randomUUID() };
    if (method === 'GET') return api.get(filled, headers);
    if (method === 'DELETE') return api.delete(filled, undefined, headers);
    if (method === 'PUT') return api.put(filled, sent, headers);
    return method === 'PATCH' ? api.patch(filled, sent, headers) : api.post(filled, sent, headers);
  }

  /** `may`, or how the guard refuses. */
  async function outcome(who: Who, operation: Operation): Promise<string> {
    const { status, body } = await call(await as(who, operation), operation);
    return refusals.includes(body['code'] as string) ? `${status} ${body['code']}` : 'may';
  }

  function expected(who: Who, { access: { role, scope } }: Operation): string {
    if (role === 'anyone') return 'may';
    if (['anonymous', 'expired', 'deactivated', 'provider’s expired'].includes(who)) return '401 unauthenticated';
    const hasScopes = who === 'key' || narrow.includes(who);
    if (hasScopes && !scope) return '403 sign-in-required';
    if (hasScopes) return who === 'key' || scope === 'shipments:read' ? 'may' : '403 scope-missing';
    const admins: Who[] = ['admin', 'provider’s admin'];
    const staff: Who[] = ['staff', ...admins];
    const reach = { customer: ['owner', 'stranger', 'provider’s customer', ...staff], staff, admin: admins };
    return reach[role].includes(who) ? 'may' : '403 forbidden';
  }

  it('has a row for every operation, and each declares who may call it', () => {
    expect(operations.length).toBeGreaterThan(50);
    expect(operations.filter(({ access }) => access === undefined)).toEqual([]);
  });

  it.each(everybody)('holds for %s at every operation', async (who) => {
    const differing: object[] = [];
    for (const operation of operations) {
      const [is, should] = [await outcome(who, operation), expected(who, operation)];
      if (is !== should) differing.push({ operation: operation.name, is, should });
    }
    expect(differing).toEqual([]);
  });

  it('keeps what is somebody’s own from everybody else', async () => {
    const ofSomebody = operations.filter(({ access, path }) => access.own && path.includes('{'));
    expect(ofSomebody.length).toBeGreaterThan(8);
    for (const operation of ofSomebody) {
      const ids = idsOf(operation);
      if (!ids) throw new Error(`${operation.name} is for what is one’s own: add something of the owner to \`owned\``);
      const foreign = await call(signedIn.stranger, operation, ids);
      const missing = await call(signedIn.stranger, operation, { ...ids, id: randomUUID() });
      expect({ name: operation.name, status: foreign.status }).toEqual({ name: operation.name, status: 404 });
      const said = ({ body: { traceId: _, instance: __, ...rest } }: Answer) => rest;
      expect(said(foreign)).toEqual(said(missing));
    }
    // last, since it changes what there is
    for (const operation of ofSomebody) {
      const { status } = await call(signedIn.owner, operation, idsOf(operation));
      expect({ name: operation.name, isThere: status !== 404 || operation.path.includes('{lineId}') }).toEqual({
        name: operation.name,
        isThere: true,
      });
    }
  });

  it('is the one that docs/authorization.md shows', () => {
    const path = join(__dirname, '../../docs/authorization.md');
    const table = authorizationTable(operations);
    if (process.env['UPDATE_DOCS'])
      writeFileSync(path, readFileSync(path, 'utf8').replace(/(?:\| operation[^]*)?$/, `${table}\n`));
    expect(readFileSync(path, 'utf8')).toContain(table);
  });

  it('has no row that nobody declared: the app does not start', async () => {
    @Controller('undeclared')
    class UndeclaredController {
      @Get()
      read() {
        return 'read by whom?';
      }
    }
    @Module({ imports: [DiscoveryModule], controllers: [UndeclaredController], providers: [DeclaredAccess] })
    class UndeclaredModule {}
    const app = await NestFactory.create(UndeclaredModule, new FastifyAdapter(), { logger: false });
    await expect(app.init()).rejects.toThrow('UndeclaredController.read: add @Public() or @Access(');
    await app.close();
  });
});
