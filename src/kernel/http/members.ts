import { buildMessage, ValidateBy, type ValidationArguments } from 'class-validator';

const isGiven = (object: object, name: string) => (object as Record<string, unknown>)[name] != null;

/** A member that means nothing unless another one is given as well. On an optional member. */
export const Needs = (other: string, why: string) =>
  ValidateBy({
    name: 'needs',
    constraints: [other],
    validator: {
      validate: (_, args) => isGiven(args!.object, other),
      defaultMessage: buildMessage(() => `$property needs ${other} as well: ${why}`),
    },
  });

/** A member that contradicts another one. On an optional member. */
export const NotWith = (other: string, why: string) =>
  ValidateBy({
    name: 'notWith',
    constraints: [other],
    validator: {
      validate: (_, args) => !isGiven(args!.object, other),
      defaultMessage: buildMessage(() => `$property cannot be given together with ${other}: ${why}`),
    },
  });

/** A member whose value says which others may be given, by value. Those of other values would be ignored silently. */
export const TakesOnly = (members: Readonly<Record<string, readonly string[]>>) => {
  // not what every object has, such as `constructor`
  const isKnown = (value: unknown): value is string => typeof value === 'string' && Object.hasOwn(members, value);
  const taken = (value: unknown) => (isKnown(value) ? members[value]! : []);
  const extra = ({ object, property, value }: ValidationArguments) =>
    Object.entries(object)
      .filter(([name, member]) => name !== property && member != null && !taken(value).includes(name))
      .map(([name]) => name);
  return ValidateBy({
    name: 'takesOnly',
    validator: {
      validate: (value, args) => !isKnown(value) || extra(args!).length === 0,
      defaultMessage: (args) => `${args!.property} ${args!.value} does not take ${extra(args!).join(', ')}`,
    },
  });
};
