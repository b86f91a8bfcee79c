import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import canonicalize from 'canonicalize';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { catchError, mergeMap, type Observable, of } from 'rxjs';
import { currentContext, type ExecutionContext as CommandContext } from '../../kernel/context';
import { DomainError } from '../../kernel/domain-error';
import { DuplicateCommandError } from '../../kernel/event-store/errors';
import { type Access, ACCESS } from '../../kernel/http/access';
import { ANSWER_NOT_KEPT, IDEMPOTENCY_KEY_IGNORED, IDEMPOTENCY_KEY_REQUIRED } from '../../kernel/http/idempotency';
import type { AuthenticatedRequest } from '../../kernel/http/principal';
import { ProblemError } from '../../kernel/http/problem';
import { idOf } from '../../kernel/ids';
import { toProblem } from '../problem-details.filter';
import { resourceOf } from '../resource';
import { IdempotencyKeys } from './idempotency-keys';

const keptHeaders = ['location', 'etag'];

/**
 * `Idempotency-Key` on POST (draft-ietf-httpapi-idempotency-key-header), scoped to the principal, the operation and its
 * decoded path parameters.
 */
@Injectable()
export class IdempotencyInterceptor implements NestInterceptor {
  constructor(
    private readonly reflector: Reflector,
    private readonly keys: IdempotencyKeys,
  ) {}

  async intercept(execution: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const http = execution.switchToHttp();
    const request = http.getRequest<AuthenticatedRequest>();
    const targets = [execution.getHandler(), execution.getClass()];
    // public operations sign in and up, so their bodies and answers are secret as well
    const isIgnored =
      this.reflector.get<Access>(ACCESS, execution.getHandler()).role === 'anyone' ||
      this.reflector.getAllAndOverride<boolean | undefined>(IDEMPOTENCY_KEY_IGNORED, targets);
    if (request.method !== 'POST' || isIgnored) return next.handle();
    const key = request.headers['idempotency-key'];
    if (key === undefined) {
      if (!this.reflector.get<boolean | undefined>(IDEMPOTENCY_KEY_REQUIRED, execution.getHandler()))
        return next.handle();
      throw new ProblemError(
        400,
        'idempotency-key-required',
        'Send an Idempotency-Key header: any text of 1 to 255 characters, new for each thing that you want done.',
      );
    }
    if (typeof key !== 'string' || key.length < 1 || key.length > 255) {
      throw new ProblemError(
        400,
        'idempotency-key-malformed',
        'Idempotency-Key takes one text of 1 to 255 characters.',
      );
    }

    const id = idOf(JSON.stringify([request.principal!.userId, request.method, resourceOf(request), key]));
    const fingerprint = idOf(canonicalRequest(request));
    // of the release before, which left the query out
    const former = hasQuery(request) ? fingerprint : idOf(JSON.stringify(request.body ?? null));
    if (this.reflector.get<boolean | undefined>(ANSWER_NOT_KEPT, execution.getHandler())) {
      currentContext().seed = idOf(`${id} ${fingerprint}`);
      return next.handle();
    }
    const claim = await this.keys.claim(id, fingerprint, former);
    if (claim === 'other-body') throw keyReused();
    if (claim === 'running') {
      throw new ProblemError(
        409,
        'request-in-progress',
        'A request with this Idempotency-Key is being worked on.',
        {},
        {
          'Retry-After': '1',
        },
      );
    }
    const reply = http.getResponse<FastifyReply>();
    if (claim !== 'claimed') {
      void reply.status(claim.status).headers({ ...claim.headers, 'Idempotent-Replayed': 'true' });
      if (claim.status >= 400) void reply.type('application/problem+json');
      return of(claim.body ?? undefined);
    }

    const context = currentContext();
    context.seed = id;
    context.request = fingerprint;
    context.formerRequest = former;
    const headers = () =>
      Object.fromEntries(
        keptHeaders.flatMap((name) => {
          const value = reply.getHeader(name);
          return value === undefined ? [] : [[name, String(value)]];
        }),
      );
    return next.handle().pipe(
      mergeMap(async (body: unknown) => {
        await this.keys.keep(id, { status: reply.statusCode, headers: headers(), body });
        return body;
      }),
      catchError(async (error: unknown) => {
        const { body, status } = toProblem(error, request);
        if (isRejection(error, context)) await this.keys.keep(id, { status, headers: {}, body });
        else await this.keys.release(id);
        throw told(error, context);
      }),
    );
  }
}

/**
 * What is asked for, in the one spelling of RFC 8785: the body, and the query where there is one. `KnownQueryGuard` has let
 * through only parameters that mean something.
 */
function canonicalRequest(request: FastifyRequest): string {
  const { body, query } = request;
  return canonicalize(hasQuery(request) ? [body ?? null, query] : (body ?? null))!;
}

function hasQuery({ query }: FastifyRequest): boolean {
  return Object.keys(query ?? {}).length > 0;
}

/**
 * A refusal of the command itself, which changed nothing: a repeat is told the same. Any other failure may pass, or came
 * after the change was committed: then a repeat finds what was done by its ids, and is answered accordingly.
 */
function isRejection(error: unknown, { hasCommitted }: CommandContext): boolean {
  return error instanceof DomainError && !hasCommitted;
}

/** What the client is told of a failure: never that something is missing which its request has just made. */
function told(error: unknown, { hasCommitted }: CommandContext): unknown {
  if (error instanceof DuplicateCommandError) return keyReused();
  if (!hasCommitted || !(error instanceof DomainError) || error.kind !== 'not-found') return error;
  return new ProblemError(
    503,
    'response-unavailable',
    'The request was carried out, but its result cannot be shown just now. Repeat it with the same Idempotency-Key.',
    {},
    { 'Retry-After': '1' },
  );
}

function keyReused(): ProblemError {
  const detail = 'This Idempotency-Key was used for another request: take a new one.';
  return new ProblemError(422, 'idempotency-key-reused', detail);
}
