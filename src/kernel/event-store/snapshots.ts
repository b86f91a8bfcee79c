import { Logger } from '@nestjs/common';
import type { Database } from '../database/database';
import { StateFormError } from './errors';
import type { Aggregate } from './event';
import { jsonFault } from './json-form';

export interface SnapshotOptions {
  /** A snapshot is taken when an append crosses a multiple of this many events. */
  readonly every: number;
  /** Raise it when the shape of the state changes: older snapshots are then ignored, and replaced in time. */
  readonly stateVersion: number;
}

export interface Snapshot {
  readonly version: number;
  /** As JSON gives it back. */
  readonly state: unknown;
}

/** Writes the cache of folded states. Nothing depends on it but speed; `EventStore.load` reads it. */
export class Snapshots {
  private readonly logger = new Logger('Snapshots');
  /** Types of aggregates whose states JSON cannot give back, each reported once. */
  private readonly unstorable = new Set<string>();

  constructor(private readonly database: Database) {}

  /** Keeps `state` if the events from `before` to `version` crossed the mark. Not waited for, and free to fail. */
  offer({ type, id }: Aggregate, state: unknown, before: number, version: number, options: SnapshotOptions): void {
    const { every, stateVersion } = options;
    if (Math.floor(before / every) === Math.floor(version / every)) return;
    if (this.isUnstorable(type, state)) return;
    this.database.relaxed
      .query(
        `insert into event_store.snapshots as s (aggregate_id, aggregate_type, version, state_version, state)
         values ($1, $2, $3, $4, $5)
         on conflict (aggregate_id) do update
           set version = excluded.version, state_version = excluded.state_version, state = excluded.state, taken_at = default
           where s.version < excluded.version or s.state_version <> excluded.state_version`,
        [id, type, version, stateVersion, JSON.stringify(state)],
      )
      .catch((error: Error) => this.logger.warn(`No snapshot of ${type} ${id}: ${error.message}`));
  }

  private isUnstorable(type: string, state: unknown): boolean {
    const fault = jsonFault(state);
    if (fault && !this.unstorable.has(type)) {
      this.unstorable.add(type);
      this.logger.error(`No snapshots of ${type}, which loads ever slower: ${new StateFormError(type, fault).message}`);
    }
    return fault !== undefined;
  }
}
