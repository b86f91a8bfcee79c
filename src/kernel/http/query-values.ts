import { applyDecorators } from '@nestjs/common';
import { ApiPropertyOptional } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsBoolean, IsInt, ValidateBy } from 'class-validator';

/** A query parameter that is a whole number in decimal digits. `Number` would also read '', ' ', '0x10' and '1e3'. */
export const IntegerInQuery = () =>
  applyDecorators(
    Transform(({ value }: { value: unknown }) =>
      typeof value === 'string' && /^-?\d{1,20}$/.test(value) ? Number(value) : value,
    ),
    IsInt(),
  );

/** A query parameter that is `true` or `false`. */
export const BooleanInQuery = () =>
  applyDecorators(
    Transform(({ value }: { value: unknown }) => (value === 'true' ? true : value === 'false' ? false : value)),
    IsBoolean(),
  );

/**
 * A query parameter with one or several of these values, separated by commas: `status=paid,fulfilling`; a list of them in
 * the class. Repeated parameters are refused, so that a list has one spelling.
 */
export const SomeOf = <Value extends string>(values: readonly Value[]) => {
  const are = (list: unknown) =>
    Array.isArray(list) && list.every((each) => values.includes(each as Value)) && new Set(list).size === list.length;
  return applyDecorators(
    ApiPropertyOptional({ enum: values, isArray: true, uniqueItems: true, minItems: 1 }),
    Transform(({ value }: { value: unknown }) =>
      typeof value === 'string' ? value.split(',').map((each) => each.trim()) : { repeated: value },
    ),
    ValidateBy({
      name: 'someOf',
      validator: {
        validate: are,
        defaultMessage: (about) =>
          `${about!.property} must be one or more of ${values.join(', ')}, separated by commas, each of them once`,
      },
    }),
  );
};
