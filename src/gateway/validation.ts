import { type ArgumentMetadata, BadRequestException, ValidationPipe, type ValidationError } from '@nestjs/common';
import type { ProblemDetail } from '../kernel/http/problem';

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

class RequestPipe extends ValidationPipe {
  override async transform(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    // UUIDs may come in capitals (RFC 9562); keys of everything that derives from an id must not differ by that
    if (metadata.type === 'param' && typeof value === 'string' && uuid.test(value)) return value.toLowerCase();
    const checked: unknown = await super.transform(value, metadata);
    if (metadata.type === 'body' || metadata.type === 'query') nullIsAbsent(checked);
    return checked;
  }
}

/** `@IsOptional()` lets null pass: it means what leaving the member out means. */
function nullIsAbsent(checked: unknown): void {
  if (typeof checked !== 'object' || checked === null || checked instanceof Date) return;
  const members = checked as Record<string, unknown>;
  for (const [name, member] of Object.entries(members)) {
    if (member === null) members[name] = (new (checked.constructor as new () => object)() as typeof members)[name];
    else nullIsAbsent(member);
  }
}

/** Checks every body and query against its class; what the class does not name is refused, not dropped. */
export const validation = new RequestPipe({
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
  // a value that is no object of its class has an error without a property
  const name = (error.property as string | undefined) ?? '';
  const pointer = `${parent}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
  const own = Object.values(error.constraints ?? {}).map((message) => ({ pointer, message }));
  return [...own, ...(error.children ?? []).flatMap((child) => details(child, pointer))];
}
