import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Client } from 'pg';
import { AppProcess, embeddedUrl, freePort, isAlive, isReady, postmasterPid } from '../process/app-process';
import { random } from '../support/random';
import { Clients } from './clients';
import { checkInvariants, type Violation } from './invariants';

/**
 * Breaks a running app again and again in the middle of its work, and checks each time what is left:
 * `npm run test:crash -- [--seed N] [--minutes M] [--short]`. A seed gives the same customers and the same faults.
 */
const usage = 'Usage: npm run test:crash -- [--seed N] [--minutes M] [--short]';

const admin = { email: 'admin@example.com', password: 'a password for crash runs' };
/** Sagas that are under way, at least, when something is broken. */
const underWay = 200;
const customers = 260;
/** From a fault to the end of everything that follows from what was asked for. */
const recoveryMs = 90_000;
/** Ten seconds are the goal; a busy machine that takes a little longer is no reason to fail. */
const tooLateMs = 30_000;
/** A log that long makes the checks slow: go on with an empty one. */
const roundsPerShop = 8;

/** The app with its database, both of which may be broken at any time. */
class Shop {
  private readonly directory = mkdtempSync(join(tmpdir(), 'orderloom-crash-'));
  private readonly dataDirectory = join(this.directory, 'data');
  private constructor(
    readonly url: string,
    private readonly port: number,
  ) {
    chmodSync(this.directory, 0o755);
    this.app = this.launch();
  }

  app: AppProcess;

  static async open(): Promise<Shop> {
    const port = await freePort();
    const shop = new Shop(`http://127.0.0.1:${port}`, port);
    await shop.app.ready(shop.url);
    return shop;
  }

  get databaseUrl(): string {
    return embeddedUrl(this.dataDirectory);
  }

  get postmaster(): number | undefined {
    return postmasterPid(this.dataDirectory);
  }

  start(): void {
    this.app = this.launch();
  }

  private launch(): AppProcess {
    return new AppProcess({
      DATA_DIR: this.dataDirectory,
      PORT: String(this.port),
      ADMIN_EMAIL: admin.email,
      ADMIN_PASSWORD: admin.password,
      LOG_LEVEL: 'warn',
      NODE_ENV: 'test',
      // the clients sign in once
      ACCESS_TOKEN_SECONDS: '86400',
    });
  }

  async query<Row>(text: string, values: unknown[] = []): Promise<Row[]> {
    const client = new Client({ connectionString: this.databaseUrl, application_name: 'crash-test' });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query(text, values)).rows as Row[];
    } finally {
      await client.end();
    }
  }

  /** @param keep leaves the data for whoever wants to look into it */
  async close(keep: boolean): Promise<void> {
    const postmaster = this.postmaster;
    await this.app.end();
    if (postmaster && isAlive(postmaster) && this.postmaster === postmaster) process.kill(postmaster, 'SIGKILL');
    if (keep) console.log(`The database is kept in ${this.dataDirectory}`);
    else rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

interface Fault {
  readonly name: string;
  /** Whether the database outlives it, so that what was under way can be counted right after it. */
  readonly sparesDatabase: boolean;
  /** Resolves as soon as whatever was broken is on its way up again. */
  strike(shop: Shop, random: () => number): Promise<Violation[]>;
}

function killPostgres(shop: Shop): void {
  if (shop.postmaster) process.kill(shop.postmaster, 'SIGKILL');
}

async function killApp(shop: Shop): Promise<void> {
  shop.app.kill('SIGKILL');
  await shop.app.exited;
}

const appKilled: Fault = {
  name: 'kill -9 of the app',
  sparesDatabase: true,
  async strike(shop) {
    await killApp(shop);
    return [];
  },
};
const bothKilled: Fault = {
  name: 'kill -9 of the app and of Postgres',
  sparesDatabase: false,
  async strike(shop) {
    killPostgres(shop);
    await killApp(shop);
    return [];
  },
};
const postgresKilled: Fault = {
  name: 'kill -9 of Postgres under the running app',
  sparesDatabase: false,
  async strike(shop) {
    const before = shop.postmaster;
    killPostgres(shop);
    // the app has to bring it up again by itself
    for (const deadline = Date.now() + 20_000; Date.now() < deadline; await delay(10)) {
      if (shop.postmaster !== undefined && shop.postmaster !== before) break;
    }
    return [];
  },
};
const connectionsCut: Fault = {
  name: 'all connections to Postgres cut',
  sparesDatabase: true,
  async strike(shop) {
    await shop.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
    );
    return [];
  },
};
const terminated: Fault = {
  name: 'SIGTERM, as a deployment sends it',
  sparesDatabase: false,
  async strike(shop) {
    shop.app.kill('SIGTERM');
    const patience = setTimeout(() => shop.app.kill('SIGKILL'), 60_000);
    const { code, signal } = await shop.app.exited;
    clearTimeout(patience);
    if (code === 0) return [];
    return [{ invariant: 'SIGTERM ends in order', detail: `exit ${code ?? signal}: ${shop.app.output.slice(-2000)}` }];
  },
};
const killedAgainAndAgain: Fault = {
  name: 'kill -9 of the app, three times, also while it starts',
  sparesDatabase: false,
  async strike(shop, random) {
    await killApp(shop);
    for (let again = 0; again < 2; again++) {
      shop.start();
      await delay(random() * 4000);
      await killApp(shop);
    }
    return [];
  },
};

const faults = [appKilled, bothKilled, postgresKilled, connectionsCut, terminated, killedAgainAndAgain];

interface Figures {
  readonly fault: string;
  readonly sagas: number;
  readonly ended: number;
  readonly readyMs: number;
  readonly endedMs: number;
  readonly answeredMs: number;
}

async function round(shop: Shop, clients: Clients, fault: Fault, name: string, random: () => number) {
  const found: Violation[] = [];
  const before = { repeats: clients.repeats, acknowledged: clients.acknowledged };
  // Held up at the payment, they gather; then they all go on, and are struck somewhere on their way.
  await clients.payments('isolate');
  clients.order(customers, name);
  await clients.ship(0.3);
  const many = await reached(async () => (await unfinished(shop)) >= underWay, 30_000);
  if (!many) found.push({ invariant: 'the test does what it says', detail: `never ${underWay} sagas at once` });
  await clients.payments('reset');
  await delay(random() * 1000);

  let sagas = fault.sparesDatabase ? [] : await running(shop);
  const acknowledged = clients.acknowledged - before.acknowledged;
  const at = Date.now();
  found.push(...(await fault.strike(shop, random)));
  if (fault.sparesDatabase) sagas = await running(shop);
  const struck = Date.now();
  if (!shop.app.running) shop.start();
  if (!(await reached(() => isReady(shop.url), 60_000, 20))) {
    throw new Error(`After ${fault.name} it does not come back: ${shop.app.output.slice(-4000)}`);
  }
  const readyMs = Date.now() - struck;
  if (readyMs > tooLateMs) found.push({ invariant: 'it is back in service soon', detail: `${readyMs} ms` });

  const answered = await Promise.race([clients.settled().then(() => true), delay(recoveryMs, false, { ref: false })]);
  const answeredMs = Date.now() - at;
  if (!answered) found.push({ invariant: 'a client gets an answer', detail: `not after ${recoveryMs} ms` });
  if (!(await reached(() => atRest(shop, clients), recoveryMs))) {
    found.push({ invariant: 'everything comes to its end', detail: await whatIsLeft(shop) });
  }
  const [ends] = await shop.query<{ completed: number; compensated: number; last: Date | null }>(
    `select count(*) filter (where event_type = 'saga.completed')::int as completed,
            count(*) filter (where event_type = 'saga.compensated')::int as compensated, max(recorded_at) as last
     from (select distinct on (aggregate_id) * from event_store.events where aggregate_id = any($1::uuid[])
           order by aggregate_id, version desc) e
     where event_type in ('saga.completed', 'saga.compensated')`,
    [sagas],
  );
  const { completed, compensated, last } = ends!;
  const endedMs = last ? last.getTime() - at : 0;
  found.push(...(await clients.review()), ...clients.violations.splice(0));
  found.push(...(await checkInvariants(shop.databaseUrl, clients.books)));

  const s = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  console.log(
    `${name}: ${fault.name} in the middle of ${sagas.length} running sagas, ${acknowledged} orders acknowledged`,
  );
  console.log(
    `    ready ${s(readyMs)} after its start, all ${completed + compensated} of them ended ${s(endedMs)} after the fault ` +
      `(${completed} completed, ${compensated} compensated), all clients answered after ${s(answeredMs)} ` +
      `(${clients.acknowledged - before.acknowledged} orders, ${clients.repeats - before.repeats} requests repeated)`,
  );
  const figures: Figures = {
    fault: fault.name,
    sagas: sagas.length,
    ended: completed + compensated,
    readyMs,
    endedMs,
    answeredMs,
  };
  return { found, figures };
}

/** By the view, for speed. */
async function unfinished(shop: Shop): Promise<number> {
  const [row] = await shop.query<{ count: number }>(
    `select count(*)::int as count from sagas.instances where status in ('running', 'compensating')`,
  );
  return row!.count;
}

/** By the log, for truth. */
async function running(shop: Shop): Promise<string[]> {
  const rows = await shop.query<{ id: string }>(
    `select aggregate_id as id from event_store.events where aggregate_type = 'saga' group by aggregate_id
     having (array_agg(event_type order by version desc))[1] not in ('saga.completed', 'saga.compensated')`,
  );
  return rows.map(({ id }) => id);
}

/** As an operator sees it: no saga under way, no subscription behind. */
async function atRest(shop: Shop, clients: Clients): Promise<boolean> {
  const head = async () =>
    (await shop.query<{ head: string }>(`select max(position) as head from event_store.events`))[0]!;
  const before = await head();
  for (const status of ['running', 'compensating']) {
    const { data } = await clients.get<{ data: unknown[] }>(`/v1/operations/sagas?status=${status}&limit=1`);
    if (data.length > 0) return false;
  }
  const { data } = await clients.get<{ data: { lag: number }[] }>('/v1/operations/subscriptions');
  return data.every(({ lag }) => lag === 0) && before.head === (await head()).head;
}

async function whatIsLeft(shop: Shop): Promise<string> {
  const sagas = await shop.query(
    `select id, subject, status, step, attempt, error, due_at from sagas.instances
     where status not in ('completed', 'compensated') limit 5`,
  );
  const behind = await shop.query(`select name, position, owner, lease_until from subscriptions.checkpoints`);
  return JSON.stringify({ sagas, behind, said: shop.app.output.slice(-2000) });
}

async function reached(condition: () => Promise<boolean>, patienceMs: number, everyMs = 100): Promise<boolean> {
  for (const deadline = Date.now() + patienceMs; Date.now() < deadline; await delay(everyMs)) {
    if (await condition()) return true;
  }
  return false;
}

/** Opens one shop after the other until the deadline, and works through the plan in each. */
async function run(seed: number, deadline: number, plan: (random: () => number) => Fault[]): Promise<boolean> {
  const dice = random(seed);
  const all: Figures[] = [];
  let ok = true;
  for (let shops = 1; ok && (shops === 1 || Date.now() < deadline); shops++) {
    const shop = await Shop.open();
    console.log(`First start: ready after ${((Date.now() - shop.app.startedAt) / 1000).toFixed(1)} s`);
    try {
      const clients = new Clients(shop.url, dice);
      await clients.signIn(admin.email, admin.password);
      await clients.fillShelves(`goods-${shops}`);
      for (const [nth, fault] of plan(dice).entries()) {
        if (nth > 0 && deadline > 0 && Date.now() > deadline) break;
        const { found, figures } = await round(shop, clients, fault, `${shops}.${nth + 1}`, dice);
        all.push(figures);
        ok = found.length === 0;
        for (const { invariant, detail } of found.slice(0, 40)) console.log(`    BROKEN: ${invariant}: ${detail}`);
        if (!ok) console.log(`    The app said: ${shop.app.output.slice(-5000)}`);
        if (!ok) break;
        console.log(`    all invariants hold; ${await summary(shop)}`);
      }
    } finally {
      await shop.close(!ok);
    }
  }
  const sum = (of: (figures: Figures) => number) => all.reduce((total, figures) => total + of(figures), 0);
  const worst = (of: (figures: Figures) => number) => (Math.max(...all.map(of)) / 1000).toFixed(1);
  console.log(
    `${all.length} faults in the middle of ${sum((f) => f.sagas)} running sagas, ${sum((f) => f.ended)} of which ended; ` +
      `at worst ready after ${worst((f) => f.readyMs)} s and all ended after ${worst((f) => f.endedMs)} s`,
  );
  return ok;
}

async function summary(shop: Shop): Promise<string> {
  const [row] = await shop.query<Record<string, string>>(
    `select (select count(*) from event_store.events) as events,
            (select count(*) from event_store.events where event_type = 'order.created') as orders,
            (select count(*) from event_store.events where event_type = 'saga.completed') as completed,
            (select count(*) from event_store.events where event_type = 'saga.compensated') as compensated,
            (select count(*) from payments.sandbox_ledger where outcome = 'charged') as charges,
            (select count(*) from payments.sandbox_ledger where kind = 'refund') as refunds,
            (select count(*) from shipping.shipments where status <> 'cancelled') as parcels,
            (select count(*) from products.stock_movements) as movements`,
  );
  return Object.entries(row!)
    .map(([what, count]) => `${count} ${what}`)
    .join(', ');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { seed: { type: 'string' }, minutes: { type: 'string' }, short: { type: 'boolean', default: false } },
  });
  const seed = Number(values.seed ?? Math.floor(Math.random() * 1e6));
  const minutes = Number(values.minutes ?? 3);
  if (!Number.isInteger(seed) || !(minutes > 0)) throw new Error(usage);
  console.log(`Seed ${seed}`);
  const ok = values.short
    ? await run(seed, 0, () => [appKilled, bothKilled, postgresKilled])
    : await run(seed, Date.now() + minutes * 60_000, (random) =>
        Array.from({ length: roundsPerShop }, () => faults[Math.floor(random() * faults.length)]!),
      );
  process.exitCode = ok ? 0 : 1;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
