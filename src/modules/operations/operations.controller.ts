import {
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Param,
  ParseIntPipe,
  ParseUUIDPipe,
  Post,
  Query,
} from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { currentContext } from '../../kernel/context';
import { DomainError } from '../../kernel/domain-error';
import { EventStore } from '../../kernel/event-store/event-store';
import { Access } from '../../kernel/http/access';
import { ApiProblems } from '../../kernel/http/api-problems';
import { ApiPage, type Page, pageOf, PageQuery, wholeList } from '../../kernel/http/page';
import { Resilience } from '../../kernel/resilience/policies';
import { type SagaInstance, SagaInstances, sagaOrder } from '../../kernel/sagas/saga-instances';
import type { Resolution } from '../../kernel/sagas/saga-stream';
import { Sagas } from '../../kernel/sagas/sagas';
import { type DeadLetter, deadLetterOrder, DeadLetters } from '../../kernel/subscriptions/dead-letters';
import { type HistoryChange, historyOrder, LogHistory } from '../../kernel/subscriptions/log-history';
import { Subscriptions } from '../../kernel/subscriptions/subscriptions';
import {
  BreakerResponse,
  DeadLetterResponse,
  HistoryChangeResponse,
  ListDeadLettersQuery,
  ListEventsQuery,
  ListSagasQuery,
  LogEntryResponse,
  ReasonRequest,
  ReplayAllRequest,
  ReplayAllResponse,
  ReplayQuery,
  SagaResponse,
  SubscriptionResponse,
} from './api';

/** For whoever is on call: what runs, what is stuck, and the means to get it going again. */
@ApiTags('operations')
@Controller('v1/operations')
export class OperationsController {
  constructor(
    private readonly sagas: Sagas,
    private readonly instances: SagaInstances,
    private readonly deadLetters: DeadLetters,
    private readonly subscriptions: Subscriptions,
    private readonly resilience: Resilience,
    private readonly events: EventStore,
    private readonly history: LogHistory,
  ) {}

  /** Sagas, newest first */
  @Get('sagas')
  @Access('staff', { scope: 'operations:read' })
  @ApiPage(SagaResponse)
  @ApiProblems(400)
  async listSagas(@Query() { limit, after, runnable, ...filter }: ListSagasQuery): Promise<Page<SagaResponse>> {
    const wanted = runnable === undefined ? undefined : { is: runnable, known: this.sagas.known };
    const rows = await this.instances.list({
      ...filter,
      runnable: wanted,
      after: sagaOrder.decode(after),
      limit: limit + 1,
    });
    return pageOf(rows, limit, sagaOrder, (saga) => this.sagaResponse(saga));
  }

  /** One saga */
  @Get('sagas/:id')
  @Access('staff', { scope: 'operations:read' })
  @ApiProblems(400, 404)
  async getSaga(@Param('id', ParseUUIDPipe) id: string): Promise<SagaResponse> {
    const saga = await this.instances.find(id);
    if (saga) return this.sagaResponse(saga);
    throw unknownSaga(id);
  }

  /** Try a parked saga's compensation again */
  @Post('sagas/:id/retry')
  @Access('staff', { scope: 'operations:write' })
  @HttpCode(200)
  @ApiProblems(400, 404, 409)
  retrySaga(@Param('id', ParseUUIDPipe) id: string, @Body() { reason }: ReasonRequest): Promise<SagaResponse> {
    return this.resolveSaga(id, 'retry', reason);
  }

  /** Go on without a parked saga's compensation: it was done by hand, or is not to be done */
  @Post('sagas/:id/skip')
  @Access('staff', { scope: 'operations:write' })
  @HttpCode(200)
  @ApiProblems(400, 404, 409)
  skipCompensation(@Param('id', ParseUUIDPipe) id: string, @Body() { reason }: ReasonRequest): Promise<SagaResponse> {
    return this.resolveSaga(id, 'skip', reason);
  }

  /** Reject a parked saga's cancellation: nothing is taken back, and it goes forward again, such as an order that has left */
  @Post('sagas/:id/reject-cancellation')
  @Access('staff', { scope: 'operations:write' })
  @HttpCode(200)
  @ApiProblems(400, 404, 409)
  rejectCancellation(@Param('id', ParseUUIDPipe) id: string, @Body() { reason }: ReasonRequest): Promise<SagaResponse> {
    return this.resolveSaga(id, 'reject', reason);
  }

  /** Projections and reactions, and how far they are */
  @Get('subscriptions')
  @Access('staff', { scope: 'operations:read' })
  @ApiPage(SubscriptionResponse)
  async listSubscriptions(): Promise<Page<SubscriptionResponse>> {
    return wholeList(await this.subscriptions.status());
  }

  /** Stop a subscription everywhere, within a second; it goes on where it stood when it is resumed */
  @Post('subscriptions/:name/pause')
  @Access('staff', { scope: 'operations:write' })
  @HttpCode(202)
  @ApiProblems(404)
  @ApiPage(SubscriptionResponse, 202)
  async pauseSubscription(@Param('name') name: string): Promise<Page<SubscriptionResponse>> {
    await this.subscriptions.pause(name, currentContext().actor);
    return this.segmentsOf(name);
  }

  /** Let it go on */
  @Post('subscriptions/:name/resume')
  @Access('staff', { scope: 'operations:write' })
  @HttpCode(202)
  @ApiProblems(404)
  @ApiPage(SubscriptionResponse, 202)
  async resumeSubscription(@Param('name') name: string): Promise<Page<SubscriptionResponse>> {
    await this.subscriptions.resume(name, currentContext().actor);
    return this.segmentsOf(name);
  }

  /** Make a view anew from the log, beside the live one; its progress is that of {name}/rebuild */
  @Post('subscriptions/:name/rebuild')
  @Access('staff', { scope: 'operations:write' })
  @HttpCode(202)
  @ApiProblems(404, 409)
  @ApiPage(SubscriptionResponse, 202)
  async rebuildProjection(@Param('name') name: string): Promise<Page<SubscriptionResponse>> {
    await this.subscriptions.rebuild(name);
    return this.segmentsOf(`${name}/rebuild`);
  }

  /** End a subscription that no program handles any more, so that its lag raises no alert */
  @Post('subscriptions/:name/retire')
  @Access('staff', { scope: 'operations:write' })
  @HttpCode(200)
  @ApiProblems(404, 409)
  @ApiPage(SubscriptionResponse)
  async retireSubscription(@Param('name') name: string): Promise<Page<SubscriptionResponse>> {
    await this.subscriptions.retire(name, currentContext().actor);
    return this.segmentsOf(name);
  }

  /**
   * Times that the log lost events, newest first
   *
   * As after a failover to a replica that lagged behind, or when a backup is restored.
   */
  @Get('history-changes')
  @Access('staff', { scope: 'operations:read' })
  @ApiPage(HistoryChangeResponse)
  @ApiProblems(400)
  async listHistoryChanges(@Query() { limit, after }: PageQuery): Promise<Page<HistoryChangeResponse>> {
    const rows = await this.history.list(limit + 1, historyOrder.decode(after));
    return pageOf<HistoryChange, HistoryChangeResponse>(rows, limit, historyOrder);
  }

  /** Say that you know of it; ends the alert */
  @Post('history-changes/:id/acknowledge')
  @Access('staff', { scope: 'operations:write' })
  @HttpCode(200)
  @ApiProblems(400, 404)
  acknowledgeHistoryChange(@Param('id', ParseUUIDPipe) id: string): Promise<HistoryChangeResponse> {
    return this.history.acknowledge(id, currentContext().actor);
  }

  /** Give up a rebuild that is under way or fails; the live view stays as it is */
  @Delete('subscriptions/:name/rebuild')
  @Access('staff', { scope: 'operations:write' })
  @ApiProblems(404)
  @ApiPage(SubscriptionResponse)
  async abandonRebuild(@Param('name') name: string): Promise<Page<SubscriptionResponse>> {
    await this.subscriptions.abandonRebuild(name, currentContext().actor);
    return this.segmentsOf(name);
  }

  /** Events that a subscription could not digest, newest first */
  @Get('dead-letters')
  @Access('staff', { scope: 'operations:read' })
  @ApiPage(DeadLetterResponse)
  @ApiProblems(400)
  async listDeadLetters(@Query() { limit, after, ...filter }: ListDeadLettersQuery): Promise<Page<DeadLetterResponse>> {
    const rows = await this.deadLetters.list(filter, limit + 1, deadLetterOrder.decode(after));
    return pageOf<DeadLetter, DeadLetterResponse>(rows, limit, deadLetterOrder);
  }

  /** One dead letter */
  @Get('dead-letters/:subscription/:position')
  @Access('staff', { scope: 'operations:read' })
  @ApiProblems(400, 404)
  getDeadLetter(
    @Param('subscription') subscription: string,
    @Param('position', ParseIntPipe) position: number,
  ): Promise<DeadLetterResponse> {
    return this.deadLetters.get(subscription, position);
  }

  /** Deliver everything that is open again, each partition in order */
  @Post('dead-letters/replay')
  @Access('staff', { scope: 'operations:write' })
  @HttpCode(202)
  @ApiProblems(400)
  async replayAllDeadLetters(@Body() { subscription }: ReplayAllRequest): Promise<ReplayAllResponse> {
    return { requested: await this.deadLetters.requestReplayOfAll(currentContext().actor, subscription) };
  }

  /** Deliver it again, and then, in order, what was parked behind it; a dry run only says what that would be */
  @Post('dead-letters/:subscription/:position/replay')
  @Access('staff', { scope: 'operations:write' })
  @HttpCode(202)
  @ApiProblems(400, 404, 409)
  @ApiPage(DeadLetterResponse, 202)
  async replayDeadLetter(
    @Param('subscription') subscription: string,
    @Param('position', ParseIntPipe) position: number,
    @Query() { dryRun }: ReplayQuery,
  ): Promise<Page<DeadLetterResponse>> {
    if (dryRun) return wholeList(await this.deadLetters.planReplay(subscription, position));
    return wholeList(await this.deadLetters.requestReplay(subscription, position, currentContext().actor));
  }

  /** Give it up, with a reason; what was parked behind it is delivered */
  @Delete('dead-letters/:subscription/:position')
  @Access('staff', { scope: 'operations:write' })
  @ApiProblems(400, 404, 409)
  discardDeadLetter(
    @Param('subscription') subscription: string,
    @Param('position', ParseIntPipe) position: number,
    @Body() { reason }: ReasonRequest,
  ): Promise<DeadLetterResponse> {
    return this.deadLetters.discard(subscription, position, currentContext().actor, reason);
  }

  /** Circuit breakers of this process */
  @Get('circuit-breakers')
  @Access('staff', { scope: 'operations:read' })
  @ApiPage(BreakerResponse)
  listCircuitBreakers(): Page<BreakerResponse> {
    return wholeList(this.resilience.breakers());
  }

  /** Let no call through until it is reset */
  @Post('circuit-breakers/:name/isolate')
  @Access('staff', { scope: 'operations:write' })
  @HttpCode(200)
  @ApiProblems(404)
  isolateCircuitBreaker(@Param('name') name: string): BreakerResponse {
    const breaker = this.breaker(name);
    breaker.isolate();
    return breaker.snapshot();
  }

  /** Let calls through again */
  @Post('circuit-breakers/:name/reset')
  @Access('staff', { scope: 'operations:write' })
  @HttpCode(200)
  @ApiProblems(404)
  resetCircuitBreaker(@Param('name') name: string): BreakerResponse {
    const breaker = this.breaker(name);
    breaker.reset();
    return breaker.snapshot();
  }

  /** The log, oldest first */
  @Get('events')
  @Access('staff', { scope: 'operations:read' })
  @ApiProblems(400)
  @ApiPage(LogEntryResponse)
  async listEvents(@Query() { after, limit, ...filter }: ListEventsQuery): Promise<Page<LogEntryResponse>> {
    const events = await this.events.search(filter, after, limit + 1);
    const data = events.slice(0, limit).map(({ schemaVersion: _, metadata, ...event }) => {
      return { ...event, correlationId: metadata.correlationId, metadata: { ...metadata } };
    });
    const hasMore = events.length > limit;
    return { data, page: { next: hasMore ? String(data.at(-1)!.position) : null, hasMore } };
  }

  private async segmentsOf(name: string): Promise<Page<SubscriptionResponse>> {
    return wholeList((await this.subscriptions.status()).filter((subscription) => subscription.name === name));
  }

  private breaker(name: string) {
    const breaker = this.resilience.breaker(name);
    if (breaker) return breaker;
    throw new DomainError('not-found', 'circuit-breaker-unknown', `There is no circuit breaker ${name}.`);
  }

  private async resolveSaga(id: string, resolution: Resolution, reason: string): Promise<SagaResponse> {
    const state = (await this.sagas.find(id))?.state;
    if (!state || state.status === 'none') throw unknownSaga(id);
    if (state.status === 'parked') {
      const { version } = await this.sagas.resolve(id, resolution, currentContext().actor, reason);
      return this.showSaga(id, version);
    }
    // a repeat of the request that resolved it
    const version = await this.sagas.carriedOut(id, 'resolve');
    if (version !== undefined) return this.showSaga(id, version);
    throw new DomainError('conflict', 'saga-not-parked', `The saga is ${state.status}: only a parked one needs you.`);
  }

  /** The saga as the command left it or later, also while its view is paused or late. */
  private async showSaga(id: string, version: number): Promise<SagaResponse> {
    await this.subscriptions.readYourWrites();
    const saga = await this.instances.find(id, version);
    if (saga) return this.sagaResponse(saga);
    throw unknownSaga(id);
  }

  private sagaResponse(saga: SagaInstance): SagaResponse {
    const hasEnded = saga.status === 'completed' || saga.status === 'compensated';
    return {
      ...saga,
      runnable: hasEnded || this.sagas.definition(saga.definition, saga.definitionVersion) !== undefined,
    };
  }
}

function unknownSaga(id: string): DomainError {
  return new DomainError('not-found', 'saga-unknown', `There is no saga ${id}.`);
}
