import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import { mergeMap, type Observable } from 'rxjs';
import { PersonalData } from '../kernel/personal-data/personal-data';

/**
 * Opens personal data on its way out. Before the answers that idempotency keeps: those are sealed, and a repeat after
 * the erasure shows what there is then.
 */
@Injectable()
export class RevealInterceptor implements NestInterceptor {
  constructor(private readonly personalData: PersonalData) {}

  intercept(_execution: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(mergeMap((body: unknown) => this.personalData.reveal(body)));
  }
}
