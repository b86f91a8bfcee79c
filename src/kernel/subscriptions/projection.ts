import { Injectable, SetMetadata } from '@nestjs/common';
import type { PoolClient } from 'pg';
import type { StoredEvent } from '../event-store/event';

/** Keeps a read view up to date. View and checkpoint commit in one transaction: each event counts once. */
export interface Projection {
  /** Stored types of the events that it folds. */
  readonly eventTypes: readonly string[];
  /** Schema-qualified table of the view. */
  readonly table: string;
  /** What events are kept in order with, and parked with. Default: their aggregate. */
  partitionOf?(event: StoredEvent): string;
  /** Applies a batch, oldest first, to `table`: the view, or the one that is being built to take its place. */
  project(events: readonly StoredEvent[], view: PoolClient, table: string): Promise<void>;
}

export interface ProjectionMetadata {
  readonly name: string;
  /** Raised when the same events make another view: it is then rebuilt at the next start, beside the live one. */
  readonly version: number;
  readonly segments: number;
  /** False for a view that nobody reads right after a change: requests do not wait for it, and it gathers events. */
  readonly awaited: boolean;
}

export const PROJECTION = 'kernel:projection';

/** Names a provider's projection for ever: its checkpoint hangs on it. `context.view-name`. */
export function ProjectionOf(
  name: string,
  options: { version?: number; segments?: number; awaited?: boolean } = {},
): ClassDecorator {
  const metadata: ProjectionMetadata = { version: 1, segments: 1, awaited: true, ...options, name };
  return (target) => {
    Injectable()(target);
    SetMetadata(PROJECTION, metadata)(target);
  };
}

/** One row of a view, keyed by the id that the events are about. */
export interface FoldedViewOptions {
  /** Schema-qualified table whose columns are the members of the row, in snake_case as stored. */
  readonly table: string;
  /** Primary key column, a uuid. */
  readonly key: string;
}

/**
 * A view with a row an aggregate, written as a fold: the rows of a batch are read at once, folded in memory and
 * written back at once, whatever the number of events.
 */
export abstract class FoldedView<Row extends object> implements Projection {
  abstract readonly eventTypes: readonly string[];
  readonly table: string;

  protected constructor(private readonly options: FoldedViewOptions) {
    this.table = options.table;
  }

  /** Events that make one row stay together. */
  partitionOf(event: StoredEvent): string {
    return this.keyOf(event);
  }

  /** Id of the row that an event belongs to. */
  protected abstract keyOf(event: StoredEvent): string;

  /** The row after the event; `undefined` when the event says nothing about a row that is not there. */
  protected abstract evolve(row: Row | undefined, event: StoredEvent): Row | undefined;

  /** The row as these events, and no others, make it: what it was once. */
  fold(events: readonly StoredEvent[]): Row | undefined {
    const heard = new Set(this.eventTypes);
    return events
      .filter((event) => heard.has(event.eventType))
      .reduce<Row | undefined>((row, event) => this.evolve(row, event), undefined);
  }

  async project(events: readonly StoredEvent[], view: PoolClient, table: string): Promise<void> {
    const { key } = this.options;
    const keys = [...new Set(events.map((event) => this.keyOf(event)))];
    const existing = await view.query<{ key: string; row: Row }>({
      name: `read ${table}`,
      text: `select v.${key} as key, row_to_json(v) as row from ${table} v where v.${key} = any($1::uuid[])`,
      values: [keys],
    });
    const rows = new Map<string, Row | undefined>(existing.rows.map(({ key, row }) => [key, row]));
    for (const event of events) {
      const id = this.keyOf(event);
      rows.set(id, this.evolve(rows.get(id), event));
    }
    const changed = [...rows.values()].filter((row) => row !== undefined);
    if (changed.length === 0) return;
    const columns = await this.columns(view);
    await view.query({
      name: `write ${table}`,
      text: `insert into ${table} select * from json_populate_recordset(null::${table}, $1::json)
             on conflict (${key}) do update set ${columns.map((column) => `${column} = excluded.${column}`).join(', ')}`,
      values: [JSON.stringify(changed)],
    });
  }

  private known: Promise<string[]> | undefined;

  private columns(view: PoolClient): Promise<string[]> {
    return (this.known ??= view
      .query<{ name: string }>(
        `select quote_ident(attname) as name from pg_attribute
         where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = '' and attname <> $2`,
        [this.options.table, this.options.key],
      )
      .then(
        ({ rows }) => rows.map((row) => row.name),
        (error: unknown) => {
          this.known = undefined;
          throw error;
        },
      ));
  }
}
