import { applyDecorators } from '@nestjs/common';
import { Type } from 'class-transformer';
import { IsArray, IsObject, ValidateNested } from 'class-validator';

/**
 * A member that is an object of a class of its own, checked as such. `ValidateNested` alone accepts a list in place of
 * the object, and turns each of its elements into an error.
 */
export const Nested = (type: () => new () => object) =>
  applyDecorators(
    IsObject(),
    ValidateNested(),
    Type(() => type()),
  );

/** A member that is a list of objects of a class of their own. Give it an `ArrayMaxSize` too: that is documented. */
export const NestedList = (type: () => new () => object) =>
  applyDecorators(
    IsArray(),
    IsObject({ each: true }),
    ValidateNested({ each: true }),
    Type(() => type()),
  );
