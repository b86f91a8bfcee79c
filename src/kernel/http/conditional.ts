import { applyDecorators, createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { ApiHeader } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { ProblemError } from './problem';

/**
 * The version that the client last saw, from `If-Match: "<version>"`; undefined without the header.
 *
 * @throws ProblemError 400 when it is not of that form; 412 for a weak ETag; 428 when it is required and missing
 */
export const IfMatch = createParamDecorator((need: 'required' | undefined, context: ExecutionContext) => {
  const header = context.switchToHttp().getRequest<FastifyRequest>().headers['if-match'];
  if (header === undefined || header === '*') {
    if (need !== 'required') return undefined;
    throw new ProblemError(428, 'if-match-required', 'Send If-Match with the ETag of the version that you have read.');
  }
  if (/^W\/"\d{1,9}"$/.test(header)) {
    // RFC 9110, 13.1.1: strong comparison
    throw new ProblemError(
      412,
      'version-mismatch',
      'A weak ETag never matches: send it without W/, as it was answered.',
    );
  }
  const version = /^"(\d{1,9})"$/.exec(header)?.[1];
  if (version === undefined) {
    throw new ProblemError(
      400,
      'if-match-malformed',
      'If-Match takes the ETag of the resource, such as "3" with its quotes.',
    );
  }
  return Number(version);
});

/** Documents {@link IfMatch}. */
export const ApiIfMatch = (required = false) =>
  applyDecorators(
    ApiHeader({
      name: 'If-Match',
      required,
      description: 'ETag of the version that you have read, e.g. `"3"`. If somebody changed it since: 412.',
    }),
  );
