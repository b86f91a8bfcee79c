import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import type { Site, SiteOptions } from './site';

/** What `/health/ready` has to say while a fault lasts: the truth about whether the process can do its work. */
export type Readiness = 'ready' | 'not ready' | 'either';

export interface Fault {
  readonly name: string;
  /** As the table of results says it; `{s}` stands for how long it lasts. */
  readonly what: string;
  /** How long it lasts, in s: in the full matrix, and in the short form. */
  readonly seconds: readonly [full: number, short: number];
  readonly readiness: Readiness;
  /** Commits that were acknowledged while the copy of the data directory was taken, or after it, are gone. */
  readonly losesTail?: boolean;
  readonly site?: Omit<SiteOptions, 'replicas'>;
  /** Breaks something, awaits `lasting` once it is broken, and mends it. Resolves when it is mended. */
  strike(site: Site, lasting: () => Promise<void>): Promise<void>;
}

const hourMs = 3_600_000;

/** All sessions of the app. */
const endSessions = `select pg_terminate_backend(pid) from pg_stat_activity
  where datname = 'orderloom' and application_name like 'orderloom%'`;

const backendKilled: Fault = {
  name: 'backend-killed',
  what: 'one session after the other ended for {s}, four a second',
  seconds: [10, 4],
  readiness: 'either',
  async strike({ server }, lasting) {
    let over = false;
    const ending = (async () => {
      for (let nth = 0; !over; nth++, await delay(250)) {
        const sessions = await server.sessions();
        if (sessions.length > 0)
          await server.query('select pg_terminate_backend($1)', [sessions[nth % sessions.length]]);
      }
    })();
    await lasting();
    over = true;
    await ending;
  },
};

const backendsKilled: Fault = {
  name: 'backends-killed',
  what: '`kill -9` of all backends: the server recovers from a crash',
  seconds: [0, 0],
  readiness: 'either',
  async strike({ server }, lasting) {
    for (const pid of await server.sessions()) killed(pid);
    await lasting();
  },
};

const serverStopped: Fault = {
  name: 'server-stopped',
  what: 'server stopped for {s}',
  seconds: [20, 5],
  readiness: 'not ready',
  async strike({ server }, lasting) {
    await server.stop();
    await lasting();
    await server.start();
  },
};

const serverFrozen: Fault = {
  name: 'server-frozen',
  what: 'SIGSTOP of all processes of the server for {s}',
  seconds: [10, 7],
  readiness: 'not ready',
  async strike({ server }, lasting) {
    server.signalAll('SIGSTOP');
    try {
      await lasting();
    } finally {
      server.signalAll('SIGCONT');
    }
  },
};

const readOnly: Fault = {
  name: 'read-only',
  what: 'database read-only for {s}, sessions ended at its beginning only',
  seconds: [20, 7],
  readiness: 'not ready',
  async strike({ server }, lasting) {
    await server.query('alter database orderloom set default_transaction_read_only = on');
    await server.query(endSessions);
    await lasting();
    await server.query('alter database orderloom reset default_transaction_read_only');
  },
};

const diskFull: Fault = {
  name: 'disk-full',
  what: 'disk of the data full for {s}',
  seconds: [20, 7],
  readiness: 'not ready',
  site: { disk: true },
  async strike({ server }, lasting) {
    server.fillDisk();
    await lasting();
    await server.clearDisk();
  },
};

const connectionsExhausted: Fault = {
  name: 'connections-exhausted',
  what: 'all connections of the server taken by others for {s}',
  seconds: [45, 8],
  readiness: 'not ready',
  async strike({ server }, lasting) {
    // before nobody gets one any more
    const tester = await server.connect();
    const taken: Client[] = [];
    let over = false;
    const take = async () => {
      while (!over) {
        try {
          taken.push(await server.connect(server.appUrl));
        } catch {
          await delay(5);
        }
      }
    };
    const takers = Array.from({ length: 16 }, take);
    try {
      // whatever the app gets hold of while others take the rest is ended, until nothing is left to it
      for (let alone = 0; alone < 3; await delay(100)) {
        const { rowCount } = await tester.query(endSessions);
        alone = rowCount === 0 ? alone + 1 : 0;
      }
      await lasting();
    } finally {
      over = true;
      await Promise.all(takers);
      await Promise.all([tester, ...taken].map((client) => client.end()));
    }
  },
};

function locked(name: string, table: string, seconds: Fault['seconds'], readiness: Readiness): Fault {
  return {
    name,
    what: `\`${table}\` locked for {s}`,
    seconds,
    readiness,
    async strike({ server }, lasting) {
      const client = await server.connect();
      await client.query(`begin; lock table ${table} in access exclusive mode`);
      await lasting();
      await client.query('rollback');
      await client.end();
    },
  };
}

const proxySilent: Fault = {
  name: 'proxy-silent',
  what: 'network silent for {s}, connections stay open',
  seconds: [20, 8],
  readiness: 'not ready',
  site: { line: true },
  async strike({ line }, lasting) {
    line.silence();
    await lasting();
    line.speak();
  },
};

const proxyResets: Fault = {
  name: 'proxy-resets',
  what: 'network resets all connections for {s}',
  seconds: [20, 6],
  readiness: 'not ready',
  site: { line: true },
  async strike({ line }, lasting) {
    line.reset();
    await lasting();
    line.stopResetting();
  },
};

const failover: Fault = {
  name: 'failover',
  what: 'failover to a standby that lacks the last 3 s',
  seconds: [0, 0],
  readiness: 'either',
  losesTail: true,
  async strike({ server }, lasting) {
    await server.copy();
    await delay(3000);
    await server.stopAtOnce();
    server.swapInCopy();
    await lasting();
    await server.start();
  },
};

/** Of one process only: with two, their clocks differ. */
function clockMoved(name: string, what: string, clockStepMs: number): Fault {
  return {
    name,
    what,
    seconds: [20, 5],
    readiness: 'ready',
    site: { clockStepMs },
    async strike({ apps }, lasting) {
      apps[0]!.kill('SIGUSR2');
      await lasting();
      apps[0]!.kill('SIGUSR2');
    },
  };
}

export const faults: readonly Fault[] = [
  backendKilled,
  backendsKilled,
  serverStopped,
  serverFrozen,
  readOnly,
  diskFull,
  connectionsExhausted,
  // what is written does not need it, and what is read can be read from the log
  locked('view-locked', 'orders.orders_view', [60, 8], 'either'),
  locked('checkpoints-locked', 'subscriptions.checkpoints', [60, 8], 'not ready'),
  locked('log-locked', 'event_store.events', [60, 8], 'not ready'),
  proxySilent,
  proxyResets,
  failover,
  clockMoved('clock-ahead', 'clock of one process an hour ahead for {s}', hourMs),
  clockMoved('clock-behind', 'clock of one process an hour behind for {s}', -hourMs),
];

function killed(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // ended in the meantime
  }
}
