/** Turns a payload of one schema version into that of the next. Pure, and never fails: what is stored happened. */
export type Upcaster = (payload: Readonly<Record<string, unknown>>) => Record<string, unknown>;

const upcasters = new Map<string, readonly Upcaster[]>();

/**
 * Registers how payloads of `eventType` got from version 1 to 2, 2 to 3 …: the n-th function takes version n. New events
 * are stored in the version behind the last; the old ones stay as they are and are turned when they are read.
 */
export function upcast(eventType: string, ...steps: [Upcaster, ...Upcaster[]]): void {
  if (upcasters.has(eventType)) throw new Error(`${eventType} has its upcasters already`);
  upcasters.set(eventType, steps);
}

/** Version in which events of this type are written now. */
export function currentSchemaVersion(eventType: string): number {
  return (upcasters.get(eventType)?.length ?? 0) + 1;
}

/** An event was written by a newer version of the program, whose shape this one does not know. */
export class NewerSchemaError extends Error {
  override readonly name = 'NewerSchemaError';
  readonly retryAfterMs = 5000;

  constructor(eventType: string, schemaVersion: number, known: number) {
    super(
      `An event ${eventType} has schema version ${schemaVersion}, and this process knows ${known}: ` +
        'it takes a newer version of the program to read it',
    );
  }
}

export function isCurrent(eventType: string, schemaVersion: number): boolean {
  return schemaVersion === currentSchemaVersion(eventType);
}

/** A stored payload in today's shape. @throws NewerSchemaError, and what an upcaster throws */
export function toCurrent(
  eventType: string,
  schemaVersion: number,
  payload: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const steps = upcasters.get(eventType) ?? [];
  if (schemaVersion > steps.length + 1) throw new NewerSchemaError(eventType, schemaVersion, steps.length + 1);
  return steps.slice(schemaVersion - 1).reduce((shape, step) => step(shape), payload);
}
