import type { JsonFault } from './json-form';

/** The aggregate is not at the version that the caller named: read it again, then decide anew. */
export class VersionMismatch extends Error {
  override readonly name = 'VersionMismatch';

  constructor(
    readonly expected: number,
    readonly actual: number,
  ) {
    super(`The resource is at version ${actual}, not ${expected}: somebody changed it since you read it.`);
  }
}

/**
 * Concurrent writers prevented the change, even after several tries. Nothing was written. Trying again after
 * `retryAfterMs` is likely to succeed: over HTTP it is a 503 with Retry-After, and subscriptions retry it with patience.
 */
export class ContentionError extends Error {
  override readonly name = 'ContentionError';
  readonly retryAfterMs = 1000;
}

/** More appends are waiting than the log can take in a while. Nothing was written; trying again later helps. */
export class OverloadError extends Error {
  override readonly name = 'OverloadError';
  readonly retryAfterMs = 1000;
}

/**
 * The id belongs to an aggregate of another type. Ids are unique over all types, so no retry can succeed: this is a
 * mistake in the code that chose the id.
 */
export class AggregateTypeError extends Error {
  override readonly name = 'AggregateTypeError';

  constructor(
    readonly id: string,
    /** Type of the aggregate that has the id. */
    readonly actual: string,
    /** Type of the aggregate that was to be read or changed. */
    readonly wanted: string,
  ) {
    super(
      `Id ${id} belongs to an aggregate of type "${actual}", not "${wanted}". Ids are unique over all aggregate ` +
        `types: derive an id of your own, for example deriveId(id, "${wanted}")`,
    );
  }
}

/**
 * The id of a command that was carried out before was given to another one: to another aggregate, of another kind, or asked
 * for in other words. It is no repeat, so it must not be answered as one; nothing was written. No retry can succeed.
 */
export class DuplicateCommandError extends Error {
  override readonly name = 'DuplicateCommandError';

  constructor(
    readonly commandId: string,
    /** What was done under the id, and what should have been. */
    done: string,
    wanted: string,
  ) {
    super(`Command ${commandId} has been carried out as ${done}, so it cannot be carried out as ${wanted}`);
  }
}

/**
 * An aggregate's state has a value in it that JSON does not give back, so a snapshot of it would be another state. A mistake
 * in the decider's `evolve`; found in tests and development at the first append, before it is written.
 */
export class StateFormError extends Error {
  override readonly name = 'StateFormError';

  constructor(aggregateType: string, { path, what }: JsonFault) {
    super(
      `The state of ${aggregateType} has ${what} at ${path || 'its root'}, which JSON cannot give back: keep what can be ` +
        'stored, such as text for a date, and a list or an object for a set or a map',
    );
  }
}

/**
 * The event that this follows from is not in the log: it was lost, as by a failover. Nothing was written. The subscription
 * finds that out as well, and begins anew.
 */
export class LostCauseError extends Error {
  override readonly name = 'LostCauseError';
  readonly retryAfterMs = 1000;
}
