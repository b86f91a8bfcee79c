import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsOptional, IsString, IsUUID, Length, Max, Min } from 'class-validator';
import { PageQuery } from '../../kernel/http/page';
import { BooleanInQuery, IntegerInQuery, SomeOf } from '../../kernel/http/query-values';
import { type SagaStatus, sagaStatuses } from '../../kernel/sagas/saga-instances';
import { type DeadLetterState, deadLetterStates } from '../../kernel/subscriptions/dead-letters';

export class ListSagasQuery extends PageQuery {
  /** Of one of these statuses. */
  @IsOptional()
  @SomeOf(sagaStatuses)
  status?: SagaStatus[];

  /** What it is about, e.g. the id of an order. */
  @IsOptional()
  @IsUUID()
  subject?: string;

  /** Of the request that it goes back to: `X-Request-Id` of its response. */
  @IsOptional()
  @IsString()
  @Length(1, 200)
  correlationId?: string;

  /** false: only sagas that cannot go on, since the process that answers does not know their definition. */
  @IsOptional()
  @BooleanInQuery()
  runnable?: boolean;
}

export class SagaError {
  /** Of a refusal; `technical-failure`, `timeout` or `unavailable` for any other error.
   * @example 'out-of-stock' */
  code!: string;

  /** Of any other error than a refusal the log has the text: search it for the id of the saga's subject. */
  message!: string;
}

export class SagaResponse {
  id!: string;

  /** @example 'order-fulfilment' */
  definition!: string;

  definitionVersion!: number;

  /** What it is about, e.g. the id of an order. */
  subject!: string;

  /** Of the request that it goes back to: `X-Request-Id` of its response. */
  correlationId!: string;

  status!: 'running' | 'compensating' | 'parked' | 'completed' | 'compensated';

  /** false: it has not ended, and the process that answers does not know its definition. It rests until a process does. */
  runnable!: boolean;

  step!: string | null;

  attempt!: number | null;

  error!: SagaError | null;

  /** When its next try or deadline comes. */
  dueAt!: Date | null;

  startedAt!: Date;

  updatedAt!: Date;
}

export class ReasonRequest {
  /** Kept with the decision, for whoever asks later.
   * @example 'refunded by hand in the provider’s console' */
  @Length(1, 500)
  reason!: string;
}

export class SubscriptionResponse {
  /** @example 'payments.charge' */
  name!: string;

  /** Share of the partitions, from 0 on. */
  segment!: number;

  kind!: 'projection' | 'reaction';

  /** Up to here it has handled the log. */
  position!: number;

  /** Events that it has not handled yet. */
  lag!: number;

  /** How long the oldest of them has been waiting. */
  @ApiProperty({ type: 'number', format: 'double' })
  lagSeconds!: number;

  /** Events handled per second, lately, by the process that answers. */
  @ApiProperty({ type: 'number', format: 'double' })
  ratePerSecond!: number;

  /** Events handled by the process that answers, since it began. */
  handled!: number;

  /** Times that the process that answers had to try again, since it began. */
  retries!: number;

  /**
   * Events in hand in the process that answers that wait for something else: the database, or a target that is not
   * ready, such as an open circuit breaker. The log says for what. After 24 hours of asking for patience such an event
   * becomes a dead letter.
   */
  waiting!: number;

  /** The process that runs it. */
  owner!: string | null;

  /** Why a rebuild failed the last time. It is tried again until it succeeds or is abandoned. */
  error!: string | null;

  /** Who stopped it. */
  pausedBy!: string | null;

  /** Who ended it, since no program handles it any more. */
  retiredBy!: string | null;

  deadLetters!: number;

  /** Aggregates, or e.g. orders, that wait behind a dead letter. */
  parkedPartitions!: number;

  updatedAt!: Date;
}

/** Events that a process has seen in the log, and that are not there any more. */
export class HistoryChangeResponse {
  id!: string;

  detectedAt!: Date;

  /** Position of the first lost event. Another event may stand there by now. */
  lostFrom!: number;

  /** Position of the last one. */
  lostTo!: number;

  /** The newest position in the log when it was found. */
  head!: number;

  acknowledgedBy!: string | null;

  acknowledgedAt!: Date | null;
}

export class ListDeadLettersQuery extends PageQuery {
  @IsOptional()
  @IsString()
  @Length(1, 200)
  subscription?: string;

  /** In one of these states. */
  @IsOptional()
  @SomeOf(deadLetterStates)
  state?: DeadLetterState[];
}

export class DeadLetterResponse {
  subscription!: string;

  position!: number;

  eventId!: string;

  eventType!: string;

  /** What it is kept in order with: an aggregate, or e.g. an order. */
  partition!: string;

  /** parked: nothing wrong with it, but an earlier one of its partition failed. */
  state!: 'failed' | 'parked' | 'replayed' | 'discarded';

  error!: string | null;

  attempts!: number;

  since!: Date;

  replayRequestedBy!: string | null;

  resolvedBy!: string | null;

  resolvedAt!: Date | null;

  reason!: string | null;
}

export class ReplayQuery {
  /** true: only say what would be delivered. */
  @IsOptional()
  @BooleanInQuery()
  dryRun?: boolean;
}

export class ReplayAllRequest {
  /** Of this subscription only.
   * @example 'payments.charge' */
  @IsOptional()
  @IsString()
  @Length(1, 200)
  subscription?: string;
}

export class ReplayAllResponse {
  /** Letters that will be delivered. */
  requested!: number;
}

export class BreakerResponse {
  /** @example 'payment-provider' */
  name!: string;

  state!: 'CLOSED' | 'OPEN' | 'HALF_OPEN';

  failures!: number;

  successes!: number;

  calls!: number;

  refusals!: number;

  /** ms until it lets a call through to see. */
  retryAfterMs?: number;

  /** Held open by an operator. */
  isolated!: boolean;
}

export class ListEventsQuery {
  /** Log position behind which to begin: that of an event, or `page.next` of the page before. */
  @ApiPropertyOptional()
  @IsOptional()
  @IntegerInQuery()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  after: number = 0;

  @ApiPropertyOptional()
  @IsOptional()
  @IntegerInQuery()
  @Min(1)
  @Max(100)
  limit: number = 20;

  /** @example 'order.submitted' */
  @IsOptional()
  @IsString()
  @Length(1, 200)
  type?: string;

  @IsOptional()
  @IsUUID()
  aggregateId?: string;

  /** Of the request that they go back to: `X-Request-Id` of its response. Reads the log from `after` on. */
  @IsOptional()
  @IsString()
  @Length(1, 200)
  correlationId?: string;
}

export class LogEntryResponse {
  position!: number;
  id!: string;
  aggregateId!: string;
  aggregateType!: string;
  version!: number;
  /** @example 'order.submitted' */
  eventType!: string;
  payload!: Record<string, unknown>;
  /** Of the request that it goes back to: `X-Request-Id` of its response. */
  correlationId!: string;
  metadata!: Record<string, unknown>;
  timestamp!: Date;
}
