import type { PoolClient } from 'pg';
import type { Database } from '../database/database';
import type { StoredEvent } from '../event-store/event';
import type { Projection } from '../subscriptions/projection';

/** A number that is kept, such as `['status', 'paid']`, and what is added to it. */
export type Change = readonly [figure: string, label: string, by: number];

/** What an event changes. */
export interface Effect<Memory> {
  readonly changes: readonly Change[];
  /** What to remember of the event's subject for its next event; undefined when it has ended. */
  readonly memory?: Memory;
}

/** Of the rows that remember a subject, whose label is its id. */
const subject = 'subject';

/**
 * Numbers that are kept up to date from the log, so that nothing has to be counted when they are asked for: each event
 * counts once, since they are committed with the checkpoint. Their table has a row for each number, and one for each
 * subject that has not ended: `(figure text, label text, value numeric, memory jsonb, primary key (figure, label))`.
 */
export abstract class Figures<Memory extends object> implements Projection {
  abstract readonly eventTypes: readonly string[];

  /** @param table schema-qualified */
  protected constructor(
    readonly table: string,
    private readonly database: Database,
  ) {}

  partitionOf(event: StoredEvent): string {
    return this.subjectOf(event);
  }

  /** Id of what the event is about. */
  protected abstract subjectOf(event: StoredEvent): string;

  /** Pure. @param memory what the subject's last event left */
  protected abstract effectOf(event: StoredEvent, memory: Memory | undefined): Effect<Memory>;

  async project(events: readonly StoredEvent[], view: PoolClient, table: string): Promise<void> {
    const subjects = [...new Set(events.map((event) => this.subjectOf(event)))];
    const { rows } = await view.query<{ label: string; memory: Memory }>({
      name: `remember ${table}`,
      text: `select label, memory from ${table} where figure = '${subject}' and label = any($1)`,
      values: [subjects],
    });
    const memories = new Map<string, Memory | undefined>(rows.map(({ label, memory }) => [label, memory]));
    const sums = new Map<string, { figure: string; label: string; value: number }>();
    for (const event of events) {
      const id = this.subjectOf(event);
      const { changes, memory } = this.effectOf(event, memories.get(id));
      memories.set(id, memory);
      for (const [figure, label, by] of changes) {
        const key = `${figure} ${label}`;
        sums.set(key, { figure, label, value: (sums.get(key)?.value ?? 0) + by });
      }
    }
    const remembered = [...memories].map(([label, memory]) => ({ figure: subject, label, value: 0, memory }));
    const kept = remembered.filter(({ memory }) => memory !== undefined);
    const ended = rows.flatMap(({ label }) => (memories.get(label) === undefined ? [label] : []));
    // one order of the rows in all processes, for none to wait for another in a circle
    const changed = [...kept, ...sums.values()].sort((a, b) => (a.figure + a.label < b.figure + b.label ? -1 : 1));
    if (ended.length > 0) {
      const text = `delete from ${table} where figure = '${subject}' and label = any($1)`;
      await view.query({ name: `forget ${table}`, text, values: [ended] });
    }
    await view.query({
      name: `add to ${table}`,
      text: `insert into ${table} as t (figure, label, value, memory)
             select figure, label, value, memory
             from json_to_recordset($1::json) as n (figure text, label text, value numeric, memory jsonb)
             on conflict (figure, label) do update set value = t.value + excluded.value, memory = excluded.memory`,
      values: [JSON.stringify(changed)],
    });
  }

  /** The numbers of these figures, by label. Those that nothing was added to are absent. */
  protected async read(...figures: readonly string[]): Promise<ReadonlyMap<string, ReadonlyMap<string, number>>> {
    const { rows } = await this.database.pool.query<{ figure: string; label: string; value: number }>({
      name: `figures of ${this.table}`,
      text: `select figure, label, value::float8 as value from ${this.table} where figure = any($1)`,
      values: [figures],
    });
    const found = new Map(figures.map((figure) => [figure, new Map<string, number>()]));
    for (const { figure, label, value } of rows) found.get(figure)!.set(label, value);
    return found;
  }
}
