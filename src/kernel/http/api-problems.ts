import { STATUS_CODES } from 'node:http';
import { applyDecorators } from '@nestjs/common';
import { ApiExtraModels, ApiResponse, getSchemaPath } from '@nestjs/swagger';
import { Problem } from './problem';

const meaning: Readonly<Record<number, string>> = {
  400: 'The request is malformed; `errors` says where',
  401: 'No valid access token, or wrong credentials',
  403: 'Not for your role, or not for this API key',
  404: 'No such thing, or not yours',
  408: 'The request did not arrive in time',
  409: 'Not possible in this state; `code` says why',
  412: 'Changed since you read it: read again',
  413: 'The body is larger than the server takes (1 MiB, unless MAX_BODY_BYTES says otherwise)',
  414: 'A part of the path is too long',
  415: 'The body is neither JSON nor, where it may be one, a form, or it is compressed; `Accept` and `Accept-Encoding` say what to send',
  422: 'Understood, but it makes no sense; `code` says why',
  428: 'If-Match is missing',
  429: 'Too many requests or attempts; `Retry-After` says when to try again',
  431: 'The headers are too large',
  503: 'Busy or cut off; `Retry-After` says when to try again',
};

/** An error answer, as OpenAPI describes it. */
export function problemResponse(status: number) {
  return {
    description: meaning[status] ?? STATUS_CODES[status] ?? '',
    content: { 'application/problem+json': { schema: { $ref: getSchemaPath(Problem) } } },
  };
}

/** Documents the error answers that are an operation's own; `openApi` adds those that every operation has. */
export const ApiProblems = (...statuses: number[]) =>
  applyDecorators(
    ApiExtraModels(Problem),
    ...statuses.map((status) => ApiResponse({ status, ...problemResponse(status) })),
  );
