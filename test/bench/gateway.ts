import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { Api } from '../support/api';
import type { Bench, Run } from './bench';
import { Contender } from './contender';
import { administrator, type Stage } from './ours/gateway';
import { type Comparison, figure, type Goal, type Line, median } from './report';

const off = {
  METRICS: 'false',
  ACCESS_LOG: 'off',
  RATE_LIMIT_READ: 'off',
  RATE_LIMIT_WRITE: 'off',
};
const { RATE_LIMIT_READ: _, RATE_LIMIT_WRITE: __, ...limited } = off;
const stages = {
  fastify: { build: 'fastify' },
  nest: { build: 'nest' },
  server: { build: 'server', env: { ACCESS_LOG: 'off' } },
  app: { build: 'app', env: off },
  limited: { build: 'app', env: limited },
  metered: { build: 'app', env: { ...limited, METRICS: 'true' } },
  logged: { build: 'app', env: { METRICS: 'true', ACCESS_LOG: 'all' } },
} satisfies Record<string, Omit<Stage, 'databaseUrl'>>;

/** One kind of request to one of the stages. */
interface Part {
  readonly name: string;
  readonly stage: keyof typeof stages;
  readonly method?: 'GET' | 'POST';
  readonly path: string;
  readonly credential?: 'token' | 'apiKey';
  readonly hasKey?: true;
}

const tea = '00000000-0000-7000-8000-000000000001';
const own = { path: `/v1/bench/own/${tea}`, credential: 'token' } as const;
const change = { path: '/v1/bench/own', method: 'POST', credential: 'token' } as const;

/** Each has what those before it have, and one more; those behind the whole gateway differ from it. */
const parts: readonly Part[] = [
  { name: 'a bare Fastify route', stage: 'fastify', path: `/v1/bench/open/${tea}` },
  { name: 'a Nest route', stage: 'nest', path: `/v1/bench/open/${tea}` },
  { name: '+ the HTTP server: security headers, bounds, contexts', stage: 'server', path: `/v1/bench/open/${tea}` },
  { name: '+ guards, validation, interceptors, read your writes', stage: 'app', path: `/v1/bench/open/${tea}` },
  { name: '+ authentication by an access token', stage: 'app', ...own },
  { name: '+ rate limit', stage: 'limited', ...own },
  { name: '+ metrics', stage: 'metered', ...own },
  { name: 'Orderloom, whole gateway (+ access log)', stage: 'logged', ...own },
  { name: 'Orderloom, the same with an API key', stage: 'logged', ...own, credential: 'apiKey' },
  { name: 'Orderloom, the same for a POST', stage: 'logged', ...change },
  { name: 'Orderloom, the same with an Idempotency-Key', stage: 'logged', ...change, hasKey: true },
  { name: 'Orderloom, GET /v1/products/{id}', stage: 'logged', path: `/v1/products/${tea}`, credential: 'token' },
];

/** Requests under way at once where CPU is measured, so that it is not that of waking up for each. */
const callers = 16;

/** What the whole gateway may take, in ms of Node. */
const allowedMs = 1;

export const gateway: Bench = {
  name: 'gateway',
  about: 'what the gateway costs a request, part by part, over a bare Fastify route',
  async run(run): Promise<Comparison[]> {
    const measured = await measure(run);
    const [bare] = measured;
    const lines = (of: (each: Measured) => readonly number[], goal: (part: Part, median: number) => Goal | undefined) =>
      parts.map((part, nth): Line => {
        const rounds = of(measured[nth]!);
        const ratio = nth === 0 ? undefined : median(rounds) / median(of(bare!));
        const reached = goal(part, median(rounds));
        return { contender: part.name, rounds, ...(ratio && { ratio }), ...(reached && { goal: reached }) };
      });
    const whole = parts.find(({ name }) => name.startsWith('Orderloom'))!;
    return [
      {
        name: 'gateway-cpu',
        title: 'The gateway: what a request costs',
        about:
          `CPU of Node per request: ${callers} callers at a time, each over a connection of its own, to operations that do ` +
          'nothing. Each line has what those before it have, and one part more; a POST with an Idempotency-Key also writes ' +
          'to the database twice. *Ratio* is to the bare route. What the process does without requests is subtracted.',
        unit: 'ms',
        lines: lines(
          ({ cpuMs }) => cpuMs,
          (part, ms) => {
            if (part !== whole) return undefined;
            const met = ms <= allowedMs;
            return { text: `≤ ${allowedMs} ms`, met, ...(!met && { missing: `${figure(ms)} ms` }) };
          },
        ),
      },
      {
        name: 'gateway-latency',
        title: 'The gateway: how long a request takes',
        about:
          'The same requests, one after the other: the median time of each round, with the client’s own part of it.',
        unit: 'ms',
        lines: lines(
          ({ p50 }) => p50,
          () => undefined,
        ),
      },
    ];
  },
};

interface Measured {
  readonly p50: number[];
  readonly cpuMs: number[];
}

/** Rounds of all parts, turn by turn; the first is for warming up. */
async function measure(run: Run): Promise<Measured[]> {
  const measured = parts.map((): Measured => ({ p50: [], cpuMs: [] }));
  const servers = new Map<string, Server>();
  try {
    for (const [name, stage] of Object.entries(stages)) {
      const databaseUrl = stage.build === 'app' ? await run.server.database(`gateway_${name}`, true) : '';
      servers.set(name, await Server.start(name, { ...stage, databaseUrl }));
    }
    for (let round = 0; round <= run.rounds; round++) {
      for (let turn = 0; turn < parts.length; turn++) {
        const nth = (turn + round) % parts.length;
        const part = parts[nth]!;
        const { p50, cpuMs } = await servers.get(part.stage)!.round(part, run.seconds * (round === 0 ? 1000 : 500));
        run.progress(`gateway ${round || 'warm-up'}: ${part.name}, ${figure(p50)} ms, ${figure(cpuMs)} ms of CPU`);
        if (round === 0) continue;
        measured[nth]!.p50.push(p50);
        measured[nth]!.cpuMs.push(cpuMs);
      }
    }
  } finally {
    await Promise.all([...servers.values()].map((server) => server.end()));
    for (const name of servers.keys()) await run.server.drop(`gateway_${name}`);
  }
  return measured;
}

class Server {
  private readonly agent = new Agent({ keepAlive: true });

  private constructor(
    private readonly contender: Contender,
    private readonly url: string,
    private readonly credentials: { readonly token?: string; readonly apiKey?: string },
  ) {}

  static async start(name: string, stage: Stage): Promise<Server> {
    const contender = await Contender.start(`gateway, ${name}`, 'ours/gateway', JSON.stringify(stage));
    const url = await contender.ask<string>('url');
    const { username, password } = administrator;
    if (stage.build !== 'app') return new Server(contender, url, {});
    const admin = await Api.signIn(url, username, password);
    const { body } = await admin.post('/v1/api-keys', { name: 'bench', scopes: ['orders:read'] });
    return new Server(contender, url, { token: admin.token!, apiKey: body['key'] as string });
  }

  async round(part: Part, ms: number): Promise<{ p50: number; cpuMs: number }> {
    const idleMs = 300;
    const before = await this.contender.ask<number>('cpu');
    await delay(idleMs);
    const begun = await this.contender.ask<number>('cpu');
    const start = performance.now();
    const times = await Promise.all(Array.from({ length: callers }, () => this.send(part, ms)));
    const idle = ((begun - before) / idleMs) * (performance.now() - start);
    const cpu = (await this.contender.ask<number>('cpu')) - begun - idle;
    const alone = (await this.send(part, ms / 2)).sort((a, b) => a - b);
    return { p50: alone[alone.length >> 1]!, cpuMs: cpu / 1000 / times.flat().length };
  }

  /** One request after the other. @returns how long each took */
  private async send(part: Part, ms: number): Promise<number[]> {
    const times: number[] = [];
    const start = performance.now();
    for (let now = start; now - start < ms;) {
      await this.sendOne(part);
      const then = now;
      times.push((now = performance.now()) - then);
    }
    return times;
  }

  private sendOne({ name, path, method = 'GET', credential, hasKey }: Part): Promise<void> {
    const body = method === 'POST' ? '{"name":"Earl Grey","quantity":2}' : undefined;
    const headers = {
      ...(credential && { authorization: `Bearer ${this.credentials[credential]}` }),
      ...(hasKey && { 'idempotency-key': randomUUID() }),
      ...(body && { 'content-type': 'application/json', 'content-length': body.length }),
    };
    return new Promise((resolve, reject) => {
      const sent = request(this.url + path, { method, headers, agent: this.agent }, (response) => {
        const { statusCode = 0 } = response;
        response.resume().on('end', () => {
          if (statusCode < 300) resolve();
          else reject(new Error(`${name}: ${method} ${path} was answered with ${statusCode}`));
        });
      });
      sent.on('error', reject).end(body);
    });
  }

  async end(): Promise<void> {
    this.agent.destroy();
    await this.contender.end();
  }
}
