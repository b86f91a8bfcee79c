import type { CommandName } from '../context';
import type { Aggregate, DomainEvent, ExpectedVersion } from './event';

export interface AppendOptions {
  /** Default `any`. */
  readonly expectedVersion?: ExpectedVersion;
  /**
   * A repeat of the same id appends nothing and answers with the first result. Default: from the current context and from
   * what is done to which aggregate.
   */
  readonly commandId?: string | CommandName;
}

/** What a module that keeps plain state hands over with its own changes, to be committed together with them. */
export interface Announcement extends AppendOptions {
  readonly aggregate: Aggregate;
  readonly events: readonly DomainEvent[];
}
