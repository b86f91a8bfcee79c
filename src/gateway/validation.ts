import { type ArgumentMetadata, BadRequestException, ValidationPipe, type ValidationError } from '@nestjs/common';
import type { ProblemDetail } from '../kernel/http/problem';
import { withCanonicalText } from '../kernel/http/text';
import { anInstant } from '../kernel/time/instant';

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

class RequestPipe extends ValidationPipe {
  override async transform(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    // UUIDs may come in capitals (RFC 9562); keys of everything that derives from an id must not differ by that
    if (metadata.type === 'param' && typeof value === 'string' && uuid.test(value)) return value.toLowerCase();
    if (metadata.type !== 'body' && metadata.type !== 'query') return super.transform(value, metadata);
    const checked: unknown = await super.transform(withCanonicalText(value, metadata.metatype), metadata);
    nullIsAbsent(checked);
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

/** Makes text canonical and checks every body and query against its class; what the class does not name is refused, not dropped. */
export const validation = new RequestPipe({
  transform: true,
  whitelist: true,
  forbidNonWhitelisted: true,
  forbidUnknownValues: true,
  // Nest would leave out those of objects and lists
  validationError: { value: true },
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
  const message = worst(error);
  const own = message === undefined ? [] : [{ pointer, message }];
  return [...own, ...(error.children ?? []).flatMap((child) => details(child, pointer))];
}

/** Constraints that are about the kind of a value, and how people call it. */
const kinds: Readonly<Record<string, string>> = {
  isArray: 'a list',
  isObject: 'an object',
  isString: 'text',
  isInt: 'a whole number',
  isBoolean: 'true or false',
  isDate: anInstant,
};

/** Constraints of lists and texts, which a value of another kind fails as well. */
const ofLists = ['arrayNotEmpty', 'arrayMaxSize', 'arrayUnique'];
const ofTexts = ['isLength', 'minLength', 'maxLength'];

/**
 * The first thing that is wrong with a value: that it is of another kind, then what its decorators say in the order in
 * which they are written. Of `quantity: "2"` that it must be a whole number, not that it exceeds the maximum.
 */
function worst({ property, value, constraints = {} }: ValidationError): string | undefined {
  if (value === '' && ofTexts.some((each) => each in constraints)) return `${property} must not be blank`;
  const failsAny = (names: string[]) => names.some((each) => each in constraints);
  const name =
    (!Array.isArray(value) && failsAny(ofLists) && 'isArray') ||
    (typeof value !== 'string' && failsAny(ofTexts) && 'isString') ||
    Object.keys(kinds).find((each) => each in constraints);
  // the decorator that is written last runs first
  if (name === undefined) return Object.values(constraints).at(-1);
  const ofElements = constraints[name]?.startsWith('each value in ') ? constraints[name] : undefined;
  return ofElements ?? `${property} ${value === undefined ? 'is required, and ' : ''}must be ${kinds[name]}`;
}
