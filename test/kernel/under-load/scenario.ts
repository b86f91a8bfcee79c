import { join } from 'node:path';
import type { Client } from 'pg';
import { createDatabase } from '../../support/database';
import { random } from '../../support/random';
import { connect } from '../support';
import { Child, type Edit, type Violation } from '../child';
import { check } from './checker';
import type { Part, Progress } from './process';
import { delivered, views } from './views';
import { books } from './writer';

/** Sessions that a process of the kernel has, by their names on the server. */
export const sessions = [
  'orderloom/log',
  'orderloom',
  'orderloom/derived',
  'orderloom/leases',
  'orderloom/modules',
] as const;

/** A bug for this run only: in the code that the processes load, or in the database. */
export interface Plant {
  readonly edits?: readonly Edit[];
  readonly sql?: (tester: Client) => Promise<unknown>;
}

export interface Load {
  readonly seed: number;
  /** Concurrent clients, shared out between the processes. */
  readonly writers: number;
  /** Commands that each of them has acknowledged in the end. */
  readonly appends: number;
  /** How many times sessions are killed, at moments that the seed spreads over the run. */
  readonly kills: number;
  readonly killed?: readonly (typeof sessions)[number][];
  readonly planted?: Plant;
  /** How long nothing may move before the rest is given up for lost, in ms. */
  readonly patienceMs?: number;
  readonly onProgress?: (acknowledged: number, kills: number) => void;
}

export interface Outcome {
  readonly violations: Violation[];
  readonly acknowledged: number;
  readonly events: number;
  /** Sessions that were ended. */
  readonly kills: number;
  /** Commands that their writer had to send again. */
  readonly repeats: number;
  readonly writingMs: number;
  /** From the last acknowledgement until every reader had seen everything. */
  readonly catchingUpMs: number;
}

const processes = 2;

/**
 * The contract of the store, all of it at once: two processes with the kernel, three views and a reaction, many writers
 * in both, while sessions die at random and foreign transactions stay open. Nothing of it may be seen in what is stored.
 */
export async function run(load: Load): Promise<Outcome> {
  const { seed, writers, appends, patienceMs = 30_000 } = load;
  const db = await createDatabase();
  const tester = await connect(db.url);
  const violations: Violation[] = [];
  const children: Child<Progress>[] = [];
  const progress: Progress[] = Array.from({ length: processes }, () => ({ acknowledged: 0, repeats: 0 }));
  const foreigners: Client[] = [];
  try {
    await tester.query(`${views}; ${books}; create table public.foreigners (n int)`);
    await load.planted?.sql?.(tester);
    const share = (nth: number) => Array.from({ length: writers }, (_, n) => n).filter((n) => n % processes === nth);
    for (let nth = 0; nth < processes; nth++) {
      const part: Part = { databaseUrl: db.url, seed, writers: share(nth), appends };
      const script = join(__dirname, 'process.js');
      children.push(new Child(script, part, load.planted?.edits, (told: Progress) => (progress[nth] = told)));
    }
    await Promise.all(children.map((child) => child.done('start')));
    foreigners.push(await foreigner(db.url, 'insert into foreigners values (1)'));
    foreigners.push(await foreigner(siblingOf(db.url), 'select pg_current_xact_id()'));

    const begun = Date.now();
    const killer = new Killer(load, tester);
    const watching = setInterval(() => {
      const acknowledged = sum(progress, (each) => each.acknowledged);
      killer.advance(acknowledged);
      load.onProgress?.(acknowledged, killer.kills);
    }, 10);
    await Promise.all(children.map((child) => child.tell('write')));
    clearInterval(watching);
    await killer.finished();
    const written = Date.now();

    for (const detail of await delivered(tester, patienceMs)) {
      violations.push({ invariant: 'every reader comes to the end of the log', detail });
    }
    const caughtUp = Date.now();
    await Promise.all(children.map((child) => child.tell('repeat')));
    await Promise.all(children.map((child) => child.tell('close')));
    for (const child of children) violations.push(...child.violations);
    violations.push(...(await check(tester)));
    const { rows } = await tester.query<{ commands: number; events: number }>(
      `select (select count(*)::int from books.commands) as commands, (select count(*)::int from event_store.events) as events`,
    );
    const { commands, events } = rows[0]!;
    if (commands !== writers * appends || killer.kills < load.kills) {
      const detail = `${commands} of ${writers * appends} commands acknowledged, ${killer.kills} of ${load.kills} kills`;
      violations.push({ invariant: 'the test does what it says', detail });
    }
    return {
      violations,
      acknowledged: commands,
      events,
      kills: killer.kills,
      repeats: sum(progress, (each) => each.repeats),
      writingMs: written - begun,
      catchingUpMs: caughtUp - written,
    };
  } finally {
    for (const child of children) child.kill();
    await Promise.all(foreigners.map((client) => client.end().catch(() => undefined)));
    await tester.end();
    await db.drop();
  }
}

/** Ends sessions whenever a certain part of the work is done: as often on a slow machine as on a quick one. */
class Killer {
  private readonly dice: () => number;
  private readonly moments: number[];
  private readonly names: readonly string[];
  private killing: Promise<void> = Promise.resolve();
  kills = 0;

  constructor(
    load: Load,
    private readonly tester: Client,
  ) {
    this.dice = random(load.seed);
    const total = load.writers * load.appends;
    this.moments = Array.from({ length: load.kills }, () => (0.02 + 0.93 * this.dice()) * total).sort((a, b) => a - b);
    this.names = load.killed ?? sessions;
  }

  advance(acknowledged: number): void {
    while (this.moments.length > 0 && this.moments[0]! <= acknowledged) {
      this.moments.shift();
      this.killing = this.killing.then(() => this.kill());
    }
  }

  async finished(): Promise<void> {
    this.advance(Infinity);
    await this.killing;
  }

  /** All sessions of a name, or one of them; whatever there is if these are on their way back at the moment. */
  private async kill(): Promise<void> {
    const name = this.names[Math.floor(this.dice() * this.names.length)]!;
    const limit = this.dice() < 0.5 ? 1 : 1000;
    const { rows } = await this.tester.query(
      `select pg_terminate_backend(pid) from (
         select pid from pg_stat_activity where datname = current_database() and application_name = any($2)
         order by application_name <> $1, random() limit $3) s`,
      [name, this.names, limit === 1 ? 1 : await this.count(name)],
    );
    this.kills += rows.length;
  }

  private async count(name: string): Promise<number> {
    const { rows } = await this.tester.query<{ count: number }>(
      `select greatest(1, count(*))::int as count from pg_stat_activity
       where datname = current_database() and application_name = $1`,
      [name],
    );
    return rows[0]!.count;
  }
}

/** Somebody who writes something, and then leaves it at that. Nobody else needs to wait for it. */
async function foreigner(url: string, statement: string): Promise<Client> {
  const client = await connect(url);
  await client.query('begin isolation level repeatable read');
  await client.query(statement);
  return client;
}

function siblingOf(url: string): string {
  return Object.assign(new URL(url), { pathname: '/postgres' }).href;
}

function sum<T>(of: readonly T[], what: (each: T) => number): number {
  return of.reduce((total, each) => total + what(each), 0);
}
