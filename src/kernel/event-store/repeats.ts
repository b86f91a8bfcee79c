import { type CommandName, currentContext } from '../context';
import { DuplicateCommandError } from './errors';
import type { EventMetadata } from './event';
import type { Queryable } from './group-commit';

/** What a command appended. */
export interface CarriedOut {
  readonly commandId: string;
  readonly aggregateId: string;
  readonly eventTypes: readonly string[];
  readonly metadata: EventMetadata;
  /** Of its last event. */
  readonly version: number;
  readonly position: number;
}

/** A command that is to be carried out; `eventTypes` are those that it would append, if that is known. */
export interface Wanted {
  readonly command: CommandName;
  readonly aggregateId?: string;
  readonly eventTypes?: readonly string[];
}

/** What the command of this id appended, if it was ever carried out. */
export async function carriedOut(db: Queryable, commandId: string): Promise<CarriedOut | undefined> {
  const { rows } = await db.query({
    name: 'event_store.carried_out',
    text: `select e.aggregate_id, e.event_type, e.version, e.position, e.metadata from event_store.events first
           join event_store.events e on e.aggregate_id = first.aggregate_id and e.version >= first.version
                                    and e.metadata ->> 'commandId' = $1::text
           where first.event_id = $1::uuid order by e.version`,
    values: [commandId],
  });
  const events = rows as {
    aggregate_id: string;
    event_type: string;
    version: number;
    position: string;
    metadata: EventMetadata;
  }[];
  const last = events.at(-1);
  if (!last) return undefined;
  return {
    commandId,
    aggregateId: last.aggregate_id,
    eventTypes: events.map((event) => event.event_type),
    metadata: last.metadata,
    version: last.version,
    position: Number(last.position),
  };
}

/**
 * What an earlier run of this command appended, under its id or under the one that the release before gave it. That one
 * counted the commands of an aggregate, so it may be another command's: then it is left alone.
 *
 * @throws DuplicateCommandError when the id belongs to another command
 */
export async function earlierRun(db: Queryable, wanted: Wanted): Promise<CarriedOut | undefined> {
  const done = await carriedOut(db, wanted.command.id);
  if (done) assertSame(done, wanted);
  return done ?? formerRun(db, wanted);
}

/** As {@link earlierRun}, under the id of the release before only. */
export async function formerRun(db: Queryable, wanted: Wanted): Promise<CarriedOut | undefined> {
  const { command, eventTypes } = wanted;
  if (command.formerId === undefined) return undefined;
  // Its metadata do not say what was done. Without types to compare only a request is sure to be that one command.
  if (!eventTypes && currentContext().causationId !== undefined) return undefined;
  const former = await carriedOut(db, command.formerId);
  return former && (!eventTypes || eventTypes.join() === former.eventTypes.join()) ? former : undefined;
}

/**
 * The payloads are not compared: a repeat has other times, prices and generated ids in them. A client's request is compared
 * by its hash.
 *
 * @throws DuplicateCommandError
 */
export function assertSame(done: CarriedOut, { command, aggregateId, eventTypes }: Wanted): void {
  const { command: what, request } = done.metadata;
  const isSame =
    (aggregateId === undefined || aggregateId === done.aggregateId) &&
    (what !== undefined && command.what !== undefined
      ? what === command.what
      : eventTypes === undefined || eventTypes.join() === done.eventTypes.join());
  if (!isSame) {
    const wanted = `${command.what ?? eventTypes?.join(', ') ?? 'a command'} of ${aggregateId ?? 'another aggregate'}`;
    throw new DuplicateCommandError(command.id, `${what ?? done.eventTypes.join(', ')} of ${done.aggregateId}`, wanted);
  }
  assertSameRequest(done.commandId, request);
}

/** That a client which asks again asks for the same. @throws DuplicateCommandError */
export function assertSameRequest(commandId: string, stored: string | undefined): void {
  const { request, formerRequest } = currentContext();
  if (request === undefined || stored === undefined || stored === request || stored === formerRequest) return;
  throw new DuplicateCommandError(commandId, `request ${stored}`, `request ${request}`);
}
