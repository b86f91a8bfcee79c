import { randomUUID } from 'node:crypto';
import { hash } from '@node-rs/argon2';
import type { OpenAPIObject } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { UsersCanonicalEmail1790000000092 } from '../../migrations/users/0004-canonical-email';
import { account, address, order, query } from '../journeys/shop';
import { eventually } from '../kernel/support';
import { Api, type Json } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { builtOpenApi } from './open-api';

const composed = (text: string) => text.normalize('NFC');
const decomposed = (text: string) => text.normalize('NFD');

/** Nothing to see: blanks, zero-width characters, a soft hyphen, fillers of Hangul, the blank of Braille, a control. */
const blanks = [' ', '\t\n', '\u00a0', '\u200b', '\u200d', '\ufeff ', '\u2060\u00ad', '\u3164', '\u2800', '\u0007'];

const secret = /password|secret|code/i;

describe('the text of a request', () => {
  let shop: TestApp;
  let document: OpenAPIObject;

  beforeAll(async () => {
    shop = await startApp();
    document = await builtOpenApi();
  });
  afterAll(() => shop.close());

  it('is blank when there is nothing to see, for every member that must not be', async () => {
    let tried = 0;
    for (const { method, path, pointer, body } of requiredTexts(document)) {
      if (secret.test(pointer)) continue;
      tried++;
      for (const text of blanks) {
        const response = await fetch(shop.url + path.replace('{position}', '1').replace(/\{\w+\}/g, randomUUID()), {
          method,
          headers: {
            authorization: `Bearer ${shop.admin.token}`,
            'content-type': 'application/json',
            'idempotency-key': randomUUID(),
            'if-match': '"1"',
          },
          body: JSON.stringify(body(text)),
        });
        const { errors } = (await response.json()) as { errors?: { pointer: string; message: string }[] };
        const found = errors?.find((error) => error.pointer === pointer);
        const told = { method, path, pointer, text, message: found?.message };
        expect(told).toEqual({ ...told, message: `${pointer.split('/').at(-1)} must not be blank` });
      }
    }
    expect(tried).toBeGreaterThan(15);
  });

  it('is stored composed and trimmed, at every depth', async () => {
    const messy = (text: string) => ` \u200b${decomposed(text)}\u00a0\n`;
    const shippingAddress = { ...address, name: messy('Zoë Müller'), city: messy('Malmö') };
    const guest = { name: messy('Zoë') };
    const { body } = await order(shop.admin, { submit: false, reference: messy('né-1'), shippingAddress, guest });
    expect(body).toMatchObject({
      reference: composed('né-1'),
      guest: { name: composed('Zoë') },
      shippingAddress: { name: composed('Zoë Müller'), city: composed('Malmö') },
    });
    for (const reference of [composed('né-1'), decomposed('né-1'), ` ${composed('né-1')} `]) {
      const found = await shop.admin.all(`/v1/orders?reference=${encodeURIComponent(reference)}`);
      expect(found).toMatchObject([{ id: body['id'] as string }]);
    }
  });

  it('keeps what belongs to a character, also at its end', async () => {
    for (const name of ['❤️', '👩‍👩‍👧', 'नमस्ते', 'می‌خواهم', 'a\u200bb']) {
      const ada = await account(shop);
      const { version } = (await ada.get('/v1/users/me')).body as { version: number };
      const { body } = await ada.patch('/v1/users/me', { name }, { 'if-match': `"${version}"` });
      expect(body['name']).toBe(composed(name));
    }
  });

  it('has at most 30 marks in a row, which keeps normalising quick', async () => {
    const ada = await account(shop);
    const reference = (count: number) => ({ submit: false, reference: `a${'\u0315\u0316'.repeat(count / 2)}` });
    expect((await ada.post('/v1/orders', reference(30))).status).toBe(201);
    const began = performance.now();
    const answer = await ada.post('/v1/orders', reference(300_000));
    expect(answer).toMatchObject({ status: 400, body: { code: 'unstorable-text' } });
    expect(performance.now() - began).toBeLessThan(1000);
  });

  describe('that is an e-mail address', () => {
    const password = 'correct horse battery staple';
    const register = (email: string) => new Api(shop.url).post('/v1/auth/register', { email, name: 'Zoë', password });
    const signIn = (username: string, secret = password) =>
      new Api(shop.url).post('/v1/auth/token', { username, password: secret });

    it('opens one account in either form, which both sign in to', async () => {
      expect((await register(decomposed('zoë@example.com'))).status).toBe(201);
      expect(await register(composed('zoë@example.com'))).toMatchObject({ status: 409, body: { code: 'email-taken' } });
      expect(await register(decomposed('Zoë@example.com'))).toMatchObject({ status: 409 });
      const staff = await shop.admin.post('/v1/users', { email: composed('zoë@example.com'), name: 'Zoë' });
      expect(staff.status).toBe(409);
      for (const form of [composed, decomposed, (text: string) => ` ${text}\n`]) {
        expect((await signIn(form('zoë@example.com'))).status).toBe(200);
      }
      expect(await query(shop, 'select from users.users where email = $1', [composed('zoë@example.com')])).toHaveLength(
        1,
      );
    });

    it('gets a code for a new password in either form', async () => {
      const { body } = await register(composed('chloë@example.com'));
      for (const form of [composed, decomposed, (text: string) => ` ${text}\n`]) {
        await query(shop, 'delete from users.one_time_codes');
        const answer = await new Api(shop.url).post('/v1/auth/password-reset', { email: form('chloë@example.com') });
        expect(answer.status).toBe(202);
        await eventually(async () => {
          const rows = await query(shop, 'select from users.one_time_codes where user_id = $1', [body['id']]);
          return rows.length === 1;
        });
      }
    });

    it('counts failures of both forms together', async () => {
      await register(composed('noël@example.com'));
      for (let nth = 0; nth < 10; nth++) {
        await signIn((nth % 2 === 0 ? composed : decomposed)('noël@example.com'), 'wrong horse battery staple');
      }
      expect((await signIn(composed('noël@example.com'))).status).toBe(429);
      expect((await signIn(decomposed('noël@example.com'))).status).toBe(429);
    });

    it('of an earlier release is found after the update, also when there are two of it', async () => {
      const passwordHash = (of: string) => hash(`the password of ${of}`, { memoryCost: 19_456, timeCost: 2 });
      const opened = async (email: string, of: string) =>
        query(
          shop,
          `insert into users.users (id, email, name, password_hash, roles, status, version)
           values ($1, $2, 'Old', $3, '{customer}', 'active', 1)`,
          [randomUUID(), email, await passwordHash(of)],
        );
      await opened(decomposed('anaïs@example.com'), 'Anaïs');
      await opened(composed('joël@example.com'), 'Joël');
      await opened(decomposed('joël@example.com'), 'the other');
      const dataSource = await new DataSource({ type: 'postgres', url: shop.databaseUrl }).initialize();
      await new UsersCanonicalEmail1790000000092().up(dataSource.createQueryRunner());
      await dataSource.destroy();
      for (const form of [composed, decomposed]) {
        expect((await signIn(form('anaïs@example.com'), 'the password of Anaïs')).status).toBe(200);
      }
      expect((await signIn(composed('joël@example.com'), 'the password of Joël')).status).toBe(200);
      expect((await signIn(decomposed('joël@example.com'), 'the password of the other')).status).toBe(200);
      expect((await register(decomposed('anaïs@example.com'))).status).toBe(409);
      expect((await register(composed('joël@example.com'))).status).toBe(409);
    });
  });

  describe('that is a password', () => {
    const signIn = (username: string, password: string) =>
      new Api(shop.url).post('/v1/auth/token', { username, password });

    it('is one in either form and with any kind of space, and is never trimmed', async () => {
      const email = 'secret@example.com';
      const password = ' naïve horse battery staple ';
      const register = { email, name: 'Ada', password: decomposed(password) };
      expect((await new Api(shop.url).post('/v1/auth/register', register)).status).toBe(201);
      for (const same of [composed(password), decomposed(password), password.replaceAll(' ', '\u00a0')]) {
        expect((await signIn(email, same)).status).toBe(200);
      }
      for (const other of [password.trim(), password.trimEnd(), `${password}\u200b`, password.replaceAll(' ', '')]) {
        expect((await signIn(email, other)).status).toBe(401);
      }
    });

    it('of an earlier release, hashed as it was typed, still signs in', async () => {
      const email = 'earlier@example.com';
      const password = decomposed('naïve horse battery staple');
      await new Api(shop.url).post('/v1/auth/register', { email, name: 'Ada', password });
      const passwordHash = await hash(password, { memoryCost: 19_456, timeCost: 2 });
      await query(shop, 'update users.users set password_hash = $2 where email = $1', [email, passwordHash]);
      expect((await signIn(email, password)).status).toBe(200);
      expect((await signIn(email, `${password} `)).status).toBe(401);
    });

    it('is the only text that is taken as it was typed, with the address that signs in', () => {
      const schemas = document.components!.schemas as Record<string, Json>;
      const secrets = Object.values(schemas).flatMap(({ properties = {} }) =>
        Object.keys(properties as object).filter((name) => /password$/i.test(name)),
      );
      // each of these has a test above or in sign-in.spec.ts
      expect(secrets.toSorted()).toEqual(['currentPassword', 'newPassword', 'password', 'password', 'password']);
    });
  });
});

interface TextMember {
  readonly method: string;
  readonly path: string;
  readonly pointer: string;
  /** A body with this text there. */
  body(text: string): Json;
}

/** Members of bodies that are text of any kind, and not empty. */
function requiredTexts(document: OpenAPIObject): TextMember[] {
  const resolve = (schema: Record<string, Json> = {}): Record<string, Json> => {
    const name = ((schema['$ref'] ?? schema['allOf']?.[0]?.$ref) as string | undefined)?.split('/').at(-1);
    return name === undefined ? schema : (document.components!.schemas![name] as Record<string, Json>);
  };
  const within = (schema: Record<string, Json>): [string[], (text: string) => Json][] =>
    Object.entries((resolve(schema)['properties'] ?? {}) as Record<string, Json>).flatMap(([name, member]) => {
      const { type, minLength, format, pattern } = resolve(member);
      if (type === 'string' && minLength > 0 && !format && !pattern) {
        return [[[name], (text: string) => ({ [name]: text })] as [string[], (text: string) => Json]];
      }
      return within(member).map(([names, body]): [string[], (text: string) => Json] => [
        [name, ...names],
        (text) => ({ [name]: body(text) }),
      ]);
    });
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods as Record<string, Record<string, Json>>).flatMap(([method, operation]) => {
      const schema = operation['requestBody']?.content?.['application/json']?.schema as Record<string, Json>;
      if (!schema) return [];
      return within(schema).map(([names, body]) => {
        return { method: method.toUpperCase(), path, pointer: `/${names.join('/')}`, body };
      });
    }),
  );
}
