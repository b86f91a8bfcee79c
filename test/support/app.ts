import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { createApp } from '../../src/bootstrap';
import { readConfig } from '../../src/config/config';
import { SagaInstances } from '../../src/kernel/sagas/saga-instances';
import type { RetryOptions } from '../../src/kernel/subscriptions/runner';
import { Subscriptions } from '../../src/kernel/subscriptions/subscriptions';
import { Api } from './api';
import { createDatabase } from './database';

export const adminPassword = 'orderloom-admin';
/** Signs the access tokens of every app of a test run. */
export const tokenSecret = 'a secret that only this test run knows, long enough';

export interface TestApp {
  readonly app: NestFastifyApplication;
  readonly url: string;
  /** As the owner, for a look into the tables; the app itself connects as its own role. */
  readonly databaseUrl: string;
  /** Signed in as the administrator. */
  readonly admin: Api;
  /** Signed in as a new customer. */
  customer(name?: string): Promise<Api>;
  /** Resolves when everything that follows from what was done so far has happened, sagas to their end included. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

/** The whole app over a database of its own, listening on a free port. */
export async function startApp(
  options: { retry?: Partial<RetryOptions>; env?: Record<string, string> } = {},
): Promise<TestApp> {
  const database = await createDatabase();
  const config = readConfig({
    NODE_ENV: 'test',
    DATABASE_URL: database.appUrl,
    DEMO_DATA: 'true',
    ADMIN_PASSWORD: adminPassword,
    LOG_LEVEL: process.env['TEST_LOG_LEVEL'] ?? 'silent',
    ...options.env,
  });
  const app = await createApp({ config, databaseUrl: database.appUrl, secret: tokenSecret, retry: options.retry });
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl();
  const admin = await Api.signIn(url, config.ADMIN_EMAIL, adminPassword);
  let customers = 0;
  return {
    app,
    url,
    databaseUrl: database.url,
    admin,
    async customer(name = 'Ada') {
      const email = `${name.toLowerCase()}-${++customers}@example.com`;
      const password = 'correct horse battery staple';
      await new Api(url).post('/v1/auth/register', { email, name, password });
      return Api.signIn(url, email, password);
    },
    async settled() {
      const subscriptions = app.get(Subscriptions, { strict: false });
      const sagas = app.get(SagaInstances, { strict: false });
      for (;;) {
        await subscriptions.idle();
        if ((await sagas.unfinished()) === 0) return;
        // a saga that waits for its next try or for an answer: the next event comes of itself
        await subscriptions.next(() => true, 1000);
      }
    },
    async close() {
      await app.close();
      await database.drop();
    },
  };
}
