import { applyDecorators } from '@nestjs/common';
import { Transform } from 'class-transformer';
import { IsBoolean, IsInt } from 'class-validator';

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
