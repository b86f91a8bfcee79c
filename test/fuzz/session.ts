import { setTimeout as delay } from 'node:timers/promises';
import { Actors, type Call } from './actors';
import { Connection, type Lost, type Reply } from './client';
import { Composer } from './compose';
import type { AppDatabase } from './database';
import { type Draft, encode, header, type Sent } from './draft';
import type { ApiDocument } from './document';
import { exemptTables } from './knowledge';
import { eventsOfRefused, type Fault, judge, type Question, rowsOfRefused, slowness } from './oracles';
import { Pool } from './pool';
import { describe, type Report } from './report';
import type { Target } from './server';

/** A request without an answer after that long has none; longer than the app's own bounds. */
const patienceMs = 30_000;
/** Between two batches the app comes to rest, and is looked at. */
const settleMs = 20_000;
const graceMs = 1000;
const refusedKept = 500_000;

interface Slow {
  readonly sent: Sent;
  readonly ms: number;
}

/** A run of the fuzzer against one app. */
export class Session {
  private readonly pool: Pool;
  private readonly actors: Actors;
  private readonly composer: Composer;
  private readonly connections: Connection[];
  private readonly house: Connection;
  private readonly refused = new Map<string, string>();
  private slow: Slow[] = [];
  /** Requests whose rows were compared, and quiet times without rest. */
  readonly probes = { compared: 0, restless: 0, rests: 0 };
  /** How long the slowest answer took, those that asked to wait aside. */
  slowest = { ms: 0, what: '' };
  largest = { bytes: 0, what: '' };

  constructor(
    private readonly target: Target,
    private readonly document: ApiDocument,
    private readonly database: AppDatabase | undefined,
    private readonly report: Report,
    seed: number,
    concurrency: number,
  ) {
    const { hostname, port } = new URL(target.url);
    const connection = () => new Connection(Number(port), hostname);
    this.connections = Array.from({ length: concurrency }, connection);
    this.house = connection();
    this.pool = new Pool(document);
    this.actors = new Actors(this.call, this.pool, target.admin, target.secret);
    this.composer = new Composer(seed, document, this.pool, this.actors);
  }

  async open(): Promise<void> {
    await this.actors.open();
    await this.database?.news();
  }

  close(): void {
    for (const connection of [...this.connections, this.house]) connection.close();
  }

  /** Sends requests `first` to `last`, several at a time. */
  async batch(first: number, last: number, onProgress: (done: number) => void): Promise<void> {
    let next = first;
    await Promise.all(
      this.connections.map(async (connection) => {
        while (next < last) {
          await this.one(connection, this.composer.compose(next++));
          onProgress(next);
        }
      }),
    );
  }

  /** With nothing beside it: the slow ones again, and some hostile ones between two looks at all tables. */
  async quiet(first: number, count: number): Promise<void> {
    await this.actors.replenish();
    this.probes.rests++;
    const rested = await this.rest(settleMs);
    if (!rested) this.probes.restless++;
    await this.repeatSlow();
    await this.judgeEvents();
    if (this.database && rested) await this.probe(first, count, this.database);
  }

  /** Resolves with whether the app has come to rest: no subscription behind, no saga under way. */
  async rest(timeoutMs: number): Promise<boolean> {
    for (const deadline = Date.now() + timeoutMs; Date.now() < deadline; await delay(100)) {
      if (await this.isAtRest()) return true;
    }
    return false;
  }

  private lastLost = 0;

  private async isAtRest(): Promise<boolean> {
    // what nobody waits for any more may still be worked on
    if (Date.now() - this.lastLost < graceMs) return false;
    const token = this.actors.rootToken;
    const breakers = await this.call('GET', '/v1/operations/circuit-breakers', token);
    for (const { name, state } of list(breakers.body)) {
      if (state !== 'CLOSED')
        await this.call('POST', `/v1/operations/circuit-breakers/${encodeURIComponent(name as string)}/reset`, token);
    }
    const { body } = await this.call('GET', '/v1/operations/subscriptions', token);
    for (const { name, pausedBy } of list(body)) {
      if (pausedBy)
        await this.call('POST', `/v1/operations/subscriptions/${encodeURIComponent(name as string)}/resume`, token);
    }
    const sagas = (await this.database?.sagasUnderWay()) ?? 0;
    return sagas === 0 && list(body).every(({ lag, pausedBy }) => lag === 0 && !pausedBy);
  }

  private async one(connection: Connection, draft: Draft): Promise<Reply | Lost> {
    const { sent, reply } = await this.exchange(connection, draft, patienceMs);
    const { operation, actor } = draft;
    const question = questionOf(draft);
    if ('lost' in reply) {
      this.report.saw(operation, 'lost');
      this.lastLost = Date.now();
      if (reply.lost === 'timeout') this.slow.push({ sent, ms: reply.ms });
      else if (reply.lost === 'closed' && !mayBeCut(sent)) {
        this.report.fail({ oracle: 'a request gets an answer', detail: reply.detail }, sent, reply);
      }
      return reply;
    }
    const { status, ms } = reply;
    this.report.saw(operation, status);
    for (const fault of judge(this.document, question, reply)) this.report.fail(fault, sent, reply);
    if (slowness(question, ms).length > 0) this.slow.push({ sent, ms });
    else if (question.waitSeconds === 0 && ms > this.slowest.ms) this.slowest = { ms, what: what(draft) };
    if (reply.body.length > this.largest.bytes) this.largest = { bytes: reply.body.length, what: what(draft) };
    const trace = reply.headers.get('x-request-id');
    if (isRefused(reply) && trace !== undefined) {
      this.refused.set(trace, `${what(draft)} → ${status}`);
      if (this.refused.size > refusedKept) this.refused.delete(this.refused.keys().next().value!);
    }
    this.composer.learn(draft, status);
    if (status === 401 && operation.secured && draft.authentic && actor.token) {
      const token = header(draft, 'authorization')?.slice('Bearer '.length);
      if (token !== undefined) this.actors.refused(actor, token);
    }
    if (status < 300 && draft.routed) this.harvest(draft, reply);
    return reply;
  }

  private async exchange(
    connection: Connection,
    draft: Draft,
    timeoutMs: number,
  ): Promise<{ sent: Sent; reply: Reply | Lost }> {
    const sent = encode(draft, new URL(this.target.url).host);
    const { actor } = draft;
    const entry = actor.history.push(`${what(draft)} …`) - 1;
    const line = actor.history[entry]!;
    const reply = await connection.send(sent.bytes, {
      timeoutMs,
      head: draft.method === 'HEAD',
      abort: draft.abort,
      end: draft.distort !== undefined || draft.mutations.includes('chunks'),
      suspect: draft.mutations.length > 0,
    });
    const at = actor.history.lastIndexOf(line);
    if (at >= 0) actor.history[at] = `${what(draft)} → ${'status' in reply ? reply.status : reply.lost}`;
    if (actor.history.length > 20) actor.history.splice(0, actor.history.length - 20);
    return { sent, reply };
  }

  private harvest({ operation, actor, path, body: asked, method }: Draft, { headers, body }: Reply): void {
    const etag = headers.get('etag');
    if (etag !== undefined) actor.etags.set(path, etag);
    if (actor.etags.size > 200) actor.etags.delete(actor.etags.keys().next().value!);
    if (!/json/.test(headers.get('content-type') ?? '')) return;
    const json: unknown = JSON.parse(body.toString());
    this.pool.harvest(operation, actor.name, json, etag);
    const { email, username, password } = (asked ?? {}) as Record<string, unknown>;
    const name = email ?? username;
    if (method !== 'POST' || typeof name !== 'string' || typeof password !== 'string') return;
    const token = (json as { access_token?: unknown }).access_token;
    this.actors.welcome(name, password, typeof token === 'string' ? token : undefined);
  }

  /** A busy machine makes any request slow now and then; what is slow by itself is so again. */
  private async repeatSlow(): Promise<void> {
    const suspects = new Map(
      this.slow.map((slow) => [`${slow.sent.draft.operation.id} ${slow.sent.draft.mutations.join()}`, slow]),
    );
    this.slow = [];
    for (const { sent: before, ms } of suspects.values()) {
      if (before.draft.mutations.some((name) => this.composer.retired.has(name))) continue;
      const { sent, reply } = await this.exchange(this.house, this.composer.afresh(before.draft), 2 * patienceMs);
      for (const fault of slowness(questionOf(before.draft), ms, reply.ms)) {
        this.report.fail(fault, sent, reply);
        for (const name of before.draft.mutations) this.retire(name);
      }
    }
  }

  private readonly slowKinds = new Map<string, number>();

  /** Two examples of what takes long are enough: the rest of the run shall find other things. */
  private retire(mutation: string): void {
    const times = (this.slowKinds.get(mutation) ?? 0) + 1;
    this.slowKinds.set(mutation, times);
    if (times < 2) return;
    this.composer.retired.add(mutation);
    console.log(`  ${mutation}: slow twice, left out from now on`);
  }

  private async judgeEvents(): Promise<void> {
    if (!this.database) return;
    for (const fault of eventsOfRefused(await this.database.news(), this.refused)) this.report.note(fault);
  }

  private async probe(first: number, count: number, database: AppDatabase): Promise<void> {
    let before = 'nothing';
    let mark = await database.mark();
    for (let nth = first; nth < first + count; nth++) {
      const draft = this.composer.compose(nth, true);
      // it would have its effect at any time later
      if (draft.abort) continue;
      const reply = await this.one(this.house, draft);
      if (isRefused(reply)) {
        this.probes.compared++;
        const faults = rowsOfRefused(await database.changesSince(mark), exemptTables);
        if (faults.length === 0) continue;
        const story = `before it: ${before}\n${what(draft)}\n${describe(reply)}`;
        const again = await this.changesAgain(draft, database);
        if (!again) console.log(`  Not repeatable, not counted: ${faults[0]!.oracle}: ${faults[0]!.detail}\n${story}`);
        else for (const fault of faults) this.report.note(fault, `${draft.operation.name} → ${reply.status}`, story);
      }
      before = `${what(draft)} → ${'status' in reply ? reply.status : reply.lost}`;
      if (!(await this.rest(settleMs))) return;
      mark = await database.mark();
    }
  }

  /** Whether the change was this request's, and not that of one that had been given up before. */
  private async changesAgain(draft: Draft, database: AppDatabase): Promise<boolean> {
    for (let tries = 0; tries < 2; tries++) {
      if (!(await this.rest(settleMs))) return false;
      const mark = await database.mark();
      const reply = await this.one(this.house, this.composer.afresh(draft));
      if (isRefused(reply) && rowsOfRefused(await database.changesSince(mark), exemptTables).length > 0) return true;
    }
    return false;
  }

  private readonly call: Call = async (method, path, token, body) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const head = [
      `${method} ${path} HTTP/1.1`,
      `Host: ${new URL(this.target.url).host}`,
      ...(token === undefined ? [] : [`Authorization: Bearer ${token}`]),
      ...(text === undefined ? [] : ['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(text)}`]),
      ...(text === undefined && method !== 'GET' ? ['Content-Length: 0'] : []),
    ].join('\r\n');
    const bytes = Buffer.from(`${head}\r\n\r\n${text ?? ''}`);
    for (let tries = 1; ; tries++) {
      const reply = await this.house.send(bytes, { timeoutMs: 2 * patienceMs });
      if ('status' in reply && reply.status !== 503) {
        const answer = reply.body.toString();
        return { status: reply.status, body: answer ? JSON.parse(answer) : {} };
      }
      if (tries === 20) throw new Error(`${method} ${path}: ${describe(reply)}\n${this.target.log().slice(-2000)}`);
      await delay(250);
    }
  };
}

function isRefused(reply: Reply | Lost): reply is Reply {
  return 'status' in reply && reply.status >= 400 && reply.status < 500;
}

function list(body: unknown): Record<string, unknown>[] {
  return (body as { data?: Record<string, unknown>[] } | undefined)?.data ?? [];
}

export function questionOf(draft: Draft): Question {
  const wait = /(?:^|[,;\s])wait=(\d{1,3})/.exec(header(draft, 'prefer') ?? '')?.[1];
  const { operation, method, routed } = draft;
  return { operation, method, routed, waitSeconds: Math.min(60, Number(wait ?? 0)) };
}

/** The server may close on these without an answer: on what is no HTTP, and while more comes than it takes. */
function mayBeCut({ draft, bytes, body }: Sent): boolean {
  const headBytes = bytes.length - (body?.length ?? 0);
  return (
    draft.distort !== undefined || draft.mutations.includes('chunks') || bytes.length > 1 << 20 || headBytes > 16_000
  );
}

function what({ nth, operation, method, path, mutations }: Draft): string {
  const line = `#${nth} ${operation.id}: ${method} ${path.slice(0, 120)}`;
  return mutations.length > 0 ? `${line} with ${mutations.join(' and ')}` : line;
}

export function asFault(oracle: string, detail: string): Fault {
  return { oracle, detail };
}
