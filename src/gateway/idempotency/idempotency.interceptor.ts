import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyReply } from 'fastify';
import { catchError, from, mergeMap, type Observable, of, throwError } from 'rxjs';
import { currentContext } from '../../kernel/context';
import { ANSWER_NOT_KEPT, IDEMPOTENCY_KEY_IGNORED, IDEMPOTENCY_KEY_REQUIRED } from '../../kernel/http/idempotency';
import { type AuthenticatedRequest, PUBLIC } from '../../kernel/http/principal';
import { ProblemError } from '../../kernel/http/problem';
import { idOf } from '../../kernel/ids';
import { toProblem } from '../problem-details.filter';
import { addressOf } from '../resource';
import { IdempotencyKeys } from './idempotency-keys';

/** Answers that say what became of the request; the others say that it was not looked into. */
const kept = new Set([200, 201, 202, 204, 404, 409, 422]);
const keptHeaders = ['location', 'etag'];

/** `Idempotency-Key` on POST, scoped to principal and address (draft-ietf-httpapi-idempotency-key-header). */
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
      this.reflector.getAllAndOverride<boolean | undefined>(PUBLIC, targets) ??
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

    const id = idOf(JSON.stringify([request.principal!.userId, request.method, addressOf(request), key]));
    const fingerprint = idOf(JSON.stringify(request.body ?? null));
    if (this.reflector.get<boolean | undefined>(ANSWER_NOT_KEPT, execution.getHandler())) {
      currentContext().seed = idOf(`${id} ${fingerprint}`);
      return next.handle();
    }
    const claim = await this.keys.claim(id, fingerprint);
    if (claim === 'other-body') {
      throw new ProblemError(
        422,
        'idempotency-key-reused',
        'This Idempotency-Key was used with another body: take a new one.',
      );
    }
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

    currentContext().seed = id;
    const headers = () =>
      Object.fromEntries(
        keptHeaders.flatMap((name) => {
          const value = reply.getHeader(name);
          return value === undefined ? [] : [[name, String(value)]];
        }),
      );
    return next.handle().pipe(
      mergeMap((body: unknown) =>
        from(this.keys.keep(id, { status: reply.statusCode, headers: headers(), body }).then(() => body)),
      ),
      catchError((error: unknown) => {
        const { body, status } = toProblem(error, request);
        const done = kept.has(status) ? this.keys.keep(id, { status, headers: {}, body }) : this.keys.release(id);
        return from(done.catch(() => undefined)).pipe(mergeMap(() => throwError(() => error)));
      }),
    );
  }
}
