import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getMetadataStorage } from 'class-validator';
import { account, address, order, tea } from '../journeys/shop';
import { AppProcess, freePort } from '../process/app-process';
import { Api, type Json } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { createDatabase } from '../support/database';

interface Outcome {
  readonly status: number;
  readonly body: Json;
  readonly text: string;
  readonly took: number;
}

describe('the limits of a request', () => {
  let shop: TestApp;
  let ada: Api;
  let draft: string;

  beforeAll(async () => {
    shop = await startApp();
    ada = await account(shop);
    draft = (await order(ada, { submit: false })).body['id'] as string;
  });
  afterAll(() => shop.close());

  async function post(path: string, body: string, headers: Record<string, string> = {}, api = ada): Promise<Outcome> {
    const began = performance.now();
    const response = await fetch(api.url + path, {
      method: 'POST',
      body,
      headers: {
        'content-type': 'application/json',
        'idempotency-key': crypto.randomUUID(),
        ...(api.token && { authorization: `Bearer ${api.token}` }),
        ...headers,
      },
    });
    const text = await response.text();
    return { status: response.status, body: JSON.parse(text), text, took: performance.now() - began };
  }
  /** What it takes on this machine rather than beside whatever else runs on it. */
  async function quickestOf3(send: () => Promise<Outcome>): Promise<Outcome> {
    const outcomes = [await send(), await send(), await send()];
    return outcomes.sort((a, b) => a.took - b.took)[0]!;
  }
  const form = { 'content-type': 'application/x-www-form-urlencoded' };

  /** 400, at once, and shorter than 10 kB. */
  function expectRefused({ status, body, text, took }: Outcome, code: string): void {
    expect({ status, code: body['code'] }).toEqual({ status: 400, code });
    expect(text.length).toBeLessThan(10_000);
    expect(took).toBeLessThan(1000);
  }

  const keys = (count: number) => Array.from({ length: count }, (_, n) => `k${n}`);
  const objectOf = (count: number) =>
    `{${keys(count)
      .map((key) => `"${key}":1`)
      .join()}}`;

  describe('in members, elements and values', () => {
    it('refuses a form of 140,000 keys from somebody who has not signed in', async () => {
      const anonymous = new Api(shop.url);
      const wide = keys(140_000).join('&');
      expect(wide.length).toBeLessThan(1 << 20);
      expectRefused(await post('/v1/auth/token', wide, form, anonymous), 'too-many-members');
      expectRefused(await post('/v1/auth/token', 'a&'.repeat(500_000), form, anonymous), 'too-many-members');
      expectRefused(await post('/v1/auth/token', `username=${'='.repeat(1_000_000)}`, form, anonymous), 'validation');
    });

    it('refuses JSON of 95,000 members, at the top and below', async () => {
      const wide = objectOf(95_000);
      expect(wide.length).toBeLessThan(1 << 20);
      expectRefused(await post('/v1/auth/token', wide, {}, new Api(shop.url)), 'too-many-values');
      expectRefused(await post('/v1/orders', wide), 'too-many-values');
      expectRefused(await post('/v1/orders', `{"guest":${wide}}`), 'too-many-values');
      expectRefused(await post(`/v1/orders/${draft}/simulate`, wide), 'too-many-values');
    });

    it('refuses 300,000 objects where simulate takes one address', async () => {
      const addresses = `[${Array(300_000).fill('{}').join()}]`;
      const commands = `{"commands":[{"action":"setShippingAddress","address":${addresses}}]}`;
      expectRefused(await post(`/v1/orders/${draft}/simulate`, commands), 'too-many-values');
    });

    it('counts values, not what is within text', async () => {
      for (const text of [',{['.repeat(100_000), '\\"'.repeat(100_000), '"\\'.repeat(100_000)]) {
        expectRefused(await post('/v1/orders', JSON.stringify({ reference: text })), 'validation');
      }
    });

    it('refuses a list in the place of an object, within the limits too', async () => {
      for (const value of [[], [address], Array(900).fill({}), 'text', 1, true]) {
        const command = { action: 'setShippingAddress', address: value };
        const answer = await post(`/v1/orders/${draft}/simulate`, JSON.stringify({ commands: [command] }));
        expectRefused(answer, 'validation');
        expect(answer.body['errors'][0]).toEqual({
          pointer: '/commands/0/address',
          message: 'address must be an object',
        });
      }
    });

    it('checks every nested member that it is an object', () => {
      const all = [...(getMetadataStorage() as Json).validationMetadatas.values()].flat();
      const nested = all.filter(({ type }) => type === 'nestedValidation');
      expect(nested.length).toBeGreaterThan(6);
      for (const { target, propertyName, each } of nested) {
        const names = all
          .filter((other) => other.target === target && other.propertyName === propertyName)
          .map(({ name }) => name as string | undefined);
        expect({ target, propertyName, names }).toMatchObject({ names: expect.arrayContaining(['isObject']) });
        if (each) expect({ target, propertyName, names }).toMatchObject({ names: expect.arrayContaining(['isArray']) });
      }
    });

    it('refuses lists of 1,001 elements, objects of 101 members and bodies of more than 10,000 values', async () => {
      const line = { productId: tea, quantity: 1 };
      expectRefused(await post('/v1/orders', JSON.stringify({ lines: Array(1001).fill(line) })), 'too-many-elements');
      expectRefused(await post('/v1/orders', objectOf(101)), 'too-many-members');
      expectRefused(await post('/v1/orders', objectOf(100)), 'validation');
      const widest = `{"lines":[${Array(900).fill(objectOf(11)).join()}]}`;
      expectRefused(await post('/v1/orders', widest), 'too-many-values');
      const query = keys(101).map((key) => `${key}=1`);
      expect((await ada.get(`/v1/orders?${query.join('&')}`)).body['code']).toBe('too-many-members');
    });

    it('takes an order of 1,000 lines, each with a price of its own', async () => {
      const line = { productId: tea, quantity: 1, unitPrice: { amountMinor: 199, currency: 'EUR' } };
      const body = JSON.stringify({ lines: Array(1000).fill(line), shippingAddress: address });
      await shop.admin.post(`/v1/products/${tea}/stock-adjustments`, { delta: 5000, reason: 'a large order' });
      const quickest = await quickestOf3(() => post('/v1/orders', body, {}, shop.admin));
      expect(quickest).toMatchObject({ status: 201, body: { lineCount: 1000 } });
      expect(quickest.took).toBeLessThan(2000);
    });
  });

  it('does not let a process with a small heap run out of memory', async () => {
    const database = await createDatabase();
    const directory = mkdtempSync(join(tmpdir(), 'orderloom-heap-'));
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const started = new AppProcess({
      DATABASE_URL: database.url,
      DATA_DIR: directory,
      PORT: String(port),
      ADMIN_PASSWORD: 'orderloom-admin',
      LOG_LEVEL: 'warn',
      NODE_OPTIONS: '--max-old-space-size=96',
    });
    try {
      await started.ready(url);
      const admin = await Api.signIn(url, 'admin@orderloom.local', 'orderloom-admin');
      const { body } = await admin.post('/v1/orders', {});
      const addresses = `[${Array(340_000).fill('{}').join()}]`;
      const commands = `{"commands":[{"action":"setShippingAddress","address":${addresses}}]}`;
      expect(commands.length).toBeLessThan(1 << 20);
      for (let times = 0; times < 20; times++) {
        const answer = await post(`/v1/orders/${body['id']}/simulate`, commands, {}, admin);
        expect({ status: answer.status, code: answer.body['code'] }).toEqual({
          status: 400,
          code: 'too-many-values',
        });
      }
      expect(started.running).toBe(true);
    } finally {
      await started.end();
      rmSync(directory, { recursive: true, force: true });
      await database.drop();
    }
  }, 60_000);

  describe('in errors', () => {
    it('names the first 20 and says how many more there were', async () => {
      const unknown = await post('/v1/orders', objectOf(100));
      expect(unknown.body['errors']).toHaveLength(20);
      expect(unknown.body['omitted']).toBe(80);
      const lines = Array(1000).fill({ productId: tea, quantity: 0 });
      const invalid = await post('/v1/orders', JSON.stringify({ lines }));
      expectRefused(invalid, 'validation');
      expect(invalid.body).toMatchObject({ omitted: 980 });
      const few = await post('/v1/orders', objectOf(3));
      expect(few.body['errors']).toHaveLength(3);
      expect(few.body).not.toHaveProperty('omitted');
    });

    it('does so for business rules too', async () => {
      const lines = Array.from({ length: 1000 }, () => ({ productId: crypto.randomUUID(), quantity: 1 }));
      const { status, body, text } = await post('/v1/orders', JSON.stringify({ lines }));
      expect({ status, code: body['code'], omitted: body['omitted'] }).toEqual({
        status: 422,
        code: 'product-unknown',
        omitted: 980,
      });
      expect(text.length).toBeLessThan(10_000);
    });

    it('does not repeat long input', async () => {
      const long = 'x'.repeat(500_000);
      for (const body of [{ [long]: 1 }, { lines: [{ [`${long}/~`]: { [long]: 1 } }] }, { reference: long }]) {
        expectRefused(await post('/v1/orders', JSON.stringify(body)), 'validation');
      }
      const far = `/${'x/'.repeat(6000)}`;
      for (const path of [far, `${far}%ff`, `/v1/orders/${'x'.repeat(10_000)}`, `/v1/orders?${'x'.repeat(10_000)}=1`]) {
        const answer = await ada.get(path);
        expect([400, 404, 414]).toContain(answer.status);
        expect(JSON.stringify(answer.body).length).toBeLessThan(2000);
      }
    });
  });

  it('simulates 50 commands on an order of 1,000 lines in less than 2 s, and answers less than 100 kB', async () => {
    const lines = Array(1000).fill({ productId: tea, quantity: 1 });
    await shop.admin.post(`/v1/products/${tea}/stock-adjustments`, { delta: 5000, reason: 'a large order' });
    const large = (await ada.post('/v1/orders', { lines })).body;
    const lineIds = (large['lines'] as Json[]).map(({ lineId }) => lineId as string);
    const commands = lineIds.slice(0, 49).map((lineId) => ({ action: 'changeLine', lineId, quantity: 2 }));
    const body = JSON.stringify({ commands: [...commands, { action: 'setShippingAddress', address }] });
    const simulate = () => post(`/v1/orders/${large['id']}/simulate`, body);
    const { status, body: simulated, text, took } = await quickestOf3(simulate);
    expect(status).toBe(200);
    expect(simulated['results']).toHaveLength(50);
    expect(simulated['total'].amountMinor).toBe((large['total'].amountMinor / 1000) * 1049);
    expect(text.length).toBeLessThan(100_000);
    expect(took).toBeLessThan(2000);
  });
});
