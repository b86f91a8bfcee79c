import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { catchError, mergeMap, type Observable } from 'rxjs';
import { currentContext } from '../kernel/context';
import { etagOf } from '../kernel/http/conditional';
import { Subscriptions } from '../kernel/subscriptions/subscriptions';

/** Answers a change only when the views show it, and gives every versioned resource its ETag; `answerNotModified` completes it. */
@Injectable()
export class ResponseInterceptor implements NestInterceptor {
  constructor(private readonly subscriptions: Subscriptions) {}

  intercept(execution: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(
      mergeMap(async (body: unknown) => {
        await this.subscriptions.readYourWrites();
        const etag = etagOf(body);
        if (etag) void execution.switchToHttp().getResponse<FastifyReply>().header('ETag', etag);
        return body;
      }),
      catchError(async (error: unknown) => {
        // such as a used refresh token, for which the session was ended
        if (currentContext().hasCommitted) await this.subscriptions.readYourWrites();
        throw error;
      }),
    );
  }
}
