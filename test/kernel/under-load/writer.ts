import { Client } from 'pg';
import { isConnectionError } from '../../../src/kernel/database/errors';
import { OverloadError } from '../../../src/kernel/event-store/errors';
import type { AppendResult, EventStore } from '../../../src/kernel/event-store/event-store';
import { idOf, newId } from '../../../src/kernel/ids';
import { random } from '../../support/random';
import type { Violation } from '../child';

/** What the writers remember, kept beside the log that they wrote to. */
export const books = `
  create schema books;
  create table books.commands (
    command uuid not null, aggregate_type text not null, aggregate_id uuid not null, events int not null,
    version int not null, position bigint not null, with_row boolean not null);
  create table books.refused (command uuid not null);
  create table books.labels (id uuid primary key);
  -- The row of a module that is committed together with its event. The check comes at the commit, too late to think twice.
  create table books.rows (command uuid primary key, label uuid references books.labels deferrable initially deferred)`;

interface Acknowledged {
  readonly command: string;
  readonly aggregate: { type: string; id: string };
  readonly events: number;
  readonly version: number;
  readonly position: number;
  readonly withRow: boolean;
}

export class Books {
  private readonly client: Client;
  private acknowledged: Acknowledged[] = [];
  private refused: string[] = [];
  private writing: Promise<unknown> = Promise.resolve();
  readonly violations: Violation[] = [];
  count = 0;
  repeats = 0;

  constructor(url: string) {
    this.client = new Client({ connectionString: url, application_name: 'books' });
  }

  async open(): Promise<void> {
    await this.client.connect();
  }

  acknowledge(entry: Acknowledged): void {
    this.count++;
    if (this.acknowledged.push(entry) >= 2000) this.write();
  }

  refuse(command: string): void {
    this.refused.push(command);
  }

  wrong(invariant: string, detail: string): void {
    if (this.violations.length < 20) this.violations.push({ invariant, detail });
  }

  /** Sends some of the commands again, whoever sent them first. */
  async repeat(store: EventStore, limit: number): Promise<void> {
    await this.flush();
    const { rows } = await this.client.query<Acknowledged & { type: string; id: string }>(
      `select command, aggregate_type as type, aggregate_id as id, version, position::float8, events
       from books.commands order by command desc limit $1`,
      [limit],
    );
    const again = async ({ command, type, id, version, position, events }: (typeof rows)[number]) => {
      const result = await store.append({ type, id }, eventsOf({ id }, command, events), { commandId: command });
      if (result.status !== 'duplicate' || result.version !== version || result.position !== position) {
        this.wrong('a repeated command answers duplicate, with its first result', JSON.stringify({ command, result }));
      }
    };
    await Promise.all(rows.map(again));
  }

  async flush(): Promise<void> {
    this.write();
    await this.writing;
  }

  async close(): Promise<void> {
    await this.flush();
    await this.client.end();
  }

  private write(): void {
    const { acknowledged, refused } = this;
    this.acknowledged = [];
    this.refused = [];
    this.writing = this.writing.then(async () => {
      const column = <T>(of: (entry: Acknowledged) => T) => acknowledged.map(of);
      await this.client.query(
        `insert into books.commands select * from
         unnest($1::uuid[], $2::text[], $3::uuid[], $4::int[], $5::int[], $6::bigint[], $7::boolean[])`,
        [
          column((entry) => entry.command),
          column((entry) => entry.aggregate.type),
          column((entry) => entry.aggregate.id),
          column((entry) => entry.events),
          column((entry) => entry.version),
          column((entry) => entry.position),
          column((entry) => entry.withRow),
        ],
      );
      await this.client.query('insert into books.refused select unnest($1::uuid[])', [refused]);
    });
  }
}

/** One in ten is heard by the reaction; all say which command they are of, and the how manieth of how many. */
function eventsOf(
  aggregate: { readonly id: string },
  command: string,
  count: number,
  withRow = false,
): { type: string }[] {
  return Array.from({ length: count }, (_, n) => ({
    type: parseInt(command.slice(-4), 16) % 10 === 0 ? 'thing.noted' : 'thing.happened',
    of: aggregate.id,
    command,
    nth: n + 1,
    total: count,
    ...(withRow && { withRow }),
  }));
}

const sharedStreams = 16;
const commandsAStream = 20;

/**
 * One client that sends its commands one after the other, and each again until it is answered. Of its own streams it
 * knows the version and says so; others it shares with everybody.
 */
export class Writer {
  private readonly dice: () => number;
  private own = { type: 'thing', id: newId() };
  private version = 0;

  constructor(
    private readonly store: EventStore,
    private readonly books: Books,
    private readonly seed: number,
    nth: number,
  ) {
    this.dice = random(seed * 1_000_003 + nth);
  }

  async write(appends: number): Promise<void> {
    for (let n = 0; n < appends; n++) {
      const kind = this.dice();
      const events = this.dice() < 1 / 8 ? 2 : 1;
      if (n % commandsAStream === 0) this.own = { type: 'thing', id: newId() };
      if (n % commandsAStream === 0) this.version = 0;
      if (kind < 0.005) await this.sendWhatIsRefused(kind < 0.001);
      if (kind > 0.98) await this.sendWithRow(events);
      else if (kind > 0.88) await this.sendToShared(events);
      else await this.sendToOwn(events, kind < 0.02);
    }
  }

  private async sendToOwn(events: number, twice: boolean): Promise<void> {
    const command = newId();
    const aggregate = this.own;
    const expectedVersion = this.version === 0 ? ('noStream' as const) : this.version;
    const append = () =>
      this.store.append(aggregate, eventsOf(aggregate, command, events), { commandId: command, expectedVersion });
    const results = await Promise.all(Array.from({ length: twice ? 2 : 1 }, () => this.answered(append)));
    const [result, repeated] = results;
    if (!result) return this.leave();
    if (twice && ((repeated?.status !== 'duplicate' && result.status !== 'duplicate') || !same(result, repeated))) {
      this.books.wrong('a repeated command answers duplicate, with its first result', JSON.stringify(results));
    }
    if (result.status === 'conflict') {
      this.books.wrong('who is alone with a stream meets no conflict', JSON.stringify({ expectedVersion, result }));
      return this.leave();
    }
    this.version = result.version;
    this.acknowledge(command, aggregate, events, result);
  }

  private async sendToShared(events: number): Promise<void> {
    const command = newId();
    const aggregate = { type: 'thing', id: idOf(`${this.seed}/${Math.floor(this.dice() * sharedStreams)}`) };
    const append = () => this.store.append(aggregate, eventsOf(aggregate, command, events), { commandId: command });
    const result = await this.answered(append);
    if (result) this.acknowledge(command, aggregate, events, result);
  }

  private async sendWithRow(events: number): Promise<void> {
    const command = newId();
    const aggregate = { type: 'thing', id: newId() };
    const done = await this.answered(async () => {
      await this.transaction(command, aggregate, events, null);
      return true;
    });
    // what it appended is not told; the log knows
    const result = done && (await this.answered(() => this.store.resultOf(command)));
    if (result) this.acknowledge(command, aggregate, events, { ...result, status: 'ok' }, true);
    else if (done) this.books.wrong('no acknowledged command is lost', `${command}, with its row`);
  }

  /** A refusal that only Postgres can tell, in the middle of a batch or at the commit. Nothing of it may be seen. */
  private async sendWhatIsRefused(malformed: boolean): Promise<void> {
    const command = newId();
    this.books.refuse(command);
    const aggregate = { type: 'thing', id: malformed ? 'not a uuid' : newId() };
    const refused = await this.answered(async () => {
      try {
        if (malformed) {
          await this.store.append(aggregate, eventsOf(aggregate, command, 1), { commandId: command });
        } else await this.transaction(command, aggregate, 1, newId());
      } catch (error) {
        if ((error as { code?: string }).code === (malformed ? '22P02' : '23503')) return true;
        throw error;
      }
      return false;
    });
    if (refused === false) this.books.wrong('what cannot be stored is refused', command);
  }

  private transaction(command: string, aggregate: { type: string; id: string }, events: number, label: string | null) {
    return this.store.transaction(async (manager) => {
      await manager.query('insert into books.rows values ($1, $2) on conflict do nothing', [command, label]);
      const announce = [{ aggregate, events: eventsOf(aggregate, command, events, true), commandId: command }];
      return { result: undefined, announce };
    });
  }

  /** As a client does it: whatever the line swallowed is sent again. @returns undefined when it was refused */
  private async answered<R>(send: () => Promise<R>): Promise<R | undefined> {
    for (;;) {
      try {
        return await send();
      } catch (error) {
        if (!isConnectionError(error) && !(error instanceof OverloadError)) {
          this.books.wrong('a command fails only for a reason of its own', (error as Error).stack ?? String(error));
          return undefined;
        }
        this.books.repeats++;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  private acknowledge(
    command: string,
    aggregate: { type: string; id: string },
    events: number,
    { version, position }: Pick<AppendResult, 'version' | 'position' | 'status'>,
    withRow = false,
  ): void {
    this.books.acknowledge({ command, aggregate, events, version, position, withRow });
  }

  /** After what must not happen: go on with a stream of which all is known. */
  private leave(): void {
    this.own = { type: 'thing', id: newId() };
    this.version = 0;
  }
}

function same(one: AppendResult, other: AppendResult | undefined): boolean {
  return one.version === other?.version && one.position === other.position;
}
