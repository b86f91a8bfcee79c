import { applyDecorators } from '@nestjs/common';
import { Transform } from 'class-transformer';
import { IsDate } from 'class-validator';
import { parseInstant } from '../time/instant';

/** A member that is an instant: RFC 3339 with a zone in the request, a `Date` in the class. */
export const Instant = () =>
  applyDecorators(
    Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? (parseInstant(value) ?? value) : value)),
    IsDate(),
  );
