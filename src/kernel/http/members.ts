import { buildMessage, ValidateBy } from 'class-validator';

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
