import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import { finalize, type Observable } from 'rxjs';
import type { AuthenticatedRequest } from '../kernel/http/principal';

/** Requests of one account, and of all, that may wait at a time in this process. */
const maxOfAccount = 64;
const maxOfAll = 1000;

/**
 * Bounds the requests that wait for what follows from them (`Prefer: wait`), each of which looks at every event. Beyond that
 * the preference is ignored, as RFC 7240 allows, and they are answered at once. A client that disconnects frees no place:
 * its request goes on.
 */
@Injectable()
export class WaitingInterceptor implements NestInterceptor {
  private readonly ofAccounts = new Map<string, number>();
  private ofAll = 0;

  intercept(execution: ExecutionContext, next: CallHandler): Observable<unknown> {
    const { principal, headers } = execution.switchToHttp().getRequest<AuthenticatedRequest>();
    if (!principal || !/\bwait\b/i.test(String(headers['prefer'] ?? ''))) return next.handle();
    const { userId } = principal;
    const ofAccount = this.ofAccounts.get(userId) ?? 0;
    if (ofAccount >= maxOfAccount || this.ofAll >= maxOfAll) {
      delete headers['prefer'];
      return next.handle();
    }
    this.count(userId, 1);
    return next.handle().pipe(finalize(() => this.count(userId, -1)));
  }

  private count(userId: string, change: 1 | -1): void {
    const ofAccount = (this.ofAccounts.get(userId) ?? 0) + change;
    if (ofAccount === 0) this.ofAccounts.delete(userId);
    else this.ofAccounts.set(userId, ofAccount);
    this.ofAll += change;
  }
}
