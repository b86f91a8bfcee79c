import { applyDecorators, createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { ApiHeader } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { ProblemError } from './problem';

/**
 * What a strong ETag says of a resource: its version and, where a change must not overlook more than that, what else
 * counts. `"3"`, `"3.stock"`, `"9.refunded.cancelled"`. In responses a hash of the representation follows, as in
 * `"3.stock+Zt2x…"`: it tells whether a copy is current, and preconditions of changes take no account of it.
 */
export interface EntityTag {
  readonly version: number;
  readonly parts: readonly string[];
}

const partsOf = Symbol('parts of the ETag');

/** Gives a response, which has a `version`, an ETag of more than that. */
export function tagged<T extends { readonly version: number }>(body: T, ...parts: string[]): T {
  // not enumerable: no part of the response itself
  return Object.defineProperty(body, partsOf, { value: parts });
}

/** The ETag of a response; undefined for one that has no version. */
export function etagOf(body: unknown): string | undefined {
  const { version, [partsOf]: parts = [] } = (body ?? {}) as { version?: unknown; [partsOf]?: readonly string[] };
  return typeof version === 'number' ? textOf({ version, parts }) : undefined;
}

const form = String.raw`(\d{1,9})((?:\.[a-z]{1,20}){0,2})(?:\+[\w-]{1,43})?`;
const strong = new RegExp(`^"${form}"$`);
const weak = new RegExp(`^W/"${form}"$`);

/** True for the ETag that {@link etagOf} makes. */
export function isVersionTag(header: unknown): header is string {
  return typeof header === 'string' && strong.test(header) && !header.includes('+');
}

export function withRepresentation(versionTag: string, representation: string): string {
  return `${versionTag.slice(0, -1)}+${representation}"`;
}

/** Whether `If-None-Match` has it, by weak comparison (RFC 9110, 13.1.2); `*` stands for whatever there is. */
export function isListed(tag: string, ifNoneMatch: string): boolean {
  if (ifNoneMatch.trim() === '*') return true;
  // between its quotes, an ETag may have commas
  return ifNoneMatch.match(/"[^"]*"/g)?.includes(tag) ?? false;
}

/**
 * The version that the client last saw, from `If-Match`; undefined without the header. The ETag must have these parts, or
 * none.
 *
 * @throws ProblemError 412 when it is the ETag of something else, such as that of the product in place of its stock's
 */
export function versionIn(tag: EntityTag | undefined, ...parts: string[]): number | undefined {
  if (tag && tag.parts.join() !== parts.join()) {
    const example = textOf({ version: 3, parts });
    const message = `${textOf(tag)} is the ETag of something else: send that of the resource which is changed, such as ${example}.`;
    throw new ProblemError(412, 'version-mismatch', message);
  }
  return tag?.version;
}

/** For a version that is current, while other parts of the ETag are not. @throws ProblemError 412 */
export function assertCurrent(tag: EntityTag, body: { readonly version: number }): void {
  if (tag.version === body.version && textOf(tag) !== etagOf(body)) throw mismatch(tag);
}

/**
 * The version that the client last saw, from `If-Match: "<version>"`; undefined without the header.
 *
 * @throws ProblemError 400 when it is not of that form; 412 for a weak ETag, or one of something else; 428 when it is
 *   required and missing
 */
export const IfMatch = createParamDecorator((need: 'required' | undefined, context: ExecutionContext) =>
  versionIn(readTag(need, context)),
);

/** As {@link IfMatch}, for a resource whose ETag is more than its version. */
export const IfMatchTag = createParamDecorator(readTag);

function readTag(need: 'required' | undefined, context: ExecutionContext): EntityTag | undefined {
  const header = context.switchToHttp().getRequest<FastifyRequest>().headers['if-match'];
  if (header === undefined || header === '*') {
    if (need !== 'required') return undefined;
    throw new ProblemError(428, 'if-match-required', 'Send If-Match with the ETag of the version that you have read.');
  }
  if (weak.test(header)) {
    // RFC 9110, 13.1.1: strong comparison
    throw new ProblemError(
      412,
      'version-mismatch',
      'A weak ETag never matches: send it without W/, as it was answered.',
    );
  }
  const [, version, parts] = strong.exec(header) ?? [];
  if (version === undefined) {
    throw new ProblemError(
      400,
      'if-match-malformed',
      'If-Match takes the ETag of the resource, such as "3" with its quotes.',
    );
  }
  return { version: Number(version), parts: parts ? parts.slice(1).split('.') : [] };
}

function textOf({ version, parts }: EntityTag): string {
  return `"${[version, ...parts].join('.')}"`;
}

function mismatch(tag: EntityTag): ProblemError {
  const message = `${textOf(tag)} is not the ETag of this resource as it is now. Read it again and repeat the request.`;
  return new ProblemError(412, 'version-mismatch', message);
}

/** Documents {@link IfMatch}. */
export const ApiIfMatch = (required = false) =>
  applyDecorators(
    ApiHeader({
      name: 'If-Match',
      required,
      description: 'ETag of the version that you have read, e.g. `"3"`. If somebody changed it since: 412.',
    }),
  );
