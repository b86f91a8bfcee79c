import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { mergeMap, type Observable } from 'rxjs';
import { Subscriptions } from '../kernel/subscriptions/subscriptions';

/** Answers a change only when the views show it, and gives every versioned resource its ETag. */
@Injectable()
export class ResponseInterceptor implements NestInterceptor {
  constructor(private readonly subscriptions: Subscriptions) {}

  intercept(execution: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(
      mergeMap(async (body: unknown) => {
        await this.subscriptions.readYourWrites();
        const version = (body as { version?: unknown } | null | undefined)?.version;
        if (typeof version === 'number') {
          void execution.switchToHttp().getResponse<FastifyReply>().header('ETag', `"${version}"`);
        }
        return body;
      }),
    );
  }
}
