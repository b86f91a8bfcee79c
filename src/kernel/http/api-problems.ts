import { STATUS_CODES } from 'node:http';
import { applyDecorators } from '@nestjs/common';
import { ApiExtraModels, ApiResponse, getSchemaPath } from '@nestjs/swagger';
import { Problem } from './problem';

const meaning: Readonly<Record<number, string>> = {
  400: 'The request is malformed; `errors` says where',
  401: 'No valid access token, or wrong credentials',
  403: 'Not for your role',
  404: 'No such thing, or not yours',
  409: 'Not possible in this state; `code` says why',
  412: 'Changed since you read it: read again',
  422: 'Understood, but it makes no sense; `code` says why',
  428: 'If-Match is missing',
  503: 'Busy or cut off; `Retry-After` says when to try again',
};

/** Documents the error answers of an operation. */
export const ApiProblems = (...statuses: number[]) =>
  applyDecorators(
    ApiExtraModels(Problem),
    ...statuses.map((status) =>
      ApiResponse({
        status,
        description: meaning[status] ?? STATUS_CODES[status] ?? '',
        content: { 'application/problem+json': { schema: { $ref: getSchemaPath(Problem) } } },
      }),
    ),
  );
