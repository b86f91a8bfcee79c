import { BadRequestException, ValidationPipe, type ValidationError } from '@nestjs/common';
import type { ProblemDetail } from '../kernel/http/problem';

/** Checks every body and query against its class; what the class does not name is refused, not dropped. */
export const validation = new ValidationPipe({
  transform: true,
  whitelist: true,
  forbidNonWhitelisted: true,
  forbidUnknownValues: true,
  stopAtFirstError: true,
  exceptionFactory: (found) => {
    const errors = found.flatMap((error) => details(error, ''));
    const [first] = errors;
    return new BadRequestException({ message: `${first?.message ?? 'The request is malformed'}.`, errors });
  },
});

function details(error: ValidationError, parent: string): ProblemDetail[] {
  const pointer = `${parent}/${error.property.replaceAll('~', '~0').replaceAll('/', '~1')}`;
  const own = Object.values(error.constraints ?? {}).map((message) => ({ pointer, message }));
  return [...own, ...(error.children ?? []).flatMap((child) => details(child, pointer))];
}
