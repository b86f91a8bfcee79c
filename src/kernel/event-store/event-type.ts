const names = new WeakMap<object, string>();

export type EventClass<E = object> = abstract new (...args: never[]) => E;

/**
 * Ties a class to the stored name of an event. The name is the contract, not the class: modules that hear the same
 * event may each declare a class of their own with just the fields that they need.
 */
export function EventType(name: string): ClassDecorator {
  return (target) => {
    names.set(target, name);
  };
}

export function eventTypeOf(event: EventClass): string {
  const name = names.get(event);
  if (!name) throw new Error(`${event.name} has no stored name: put @EventType('context.happened') on it`);
  return name;
}
