import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { FastifyInstance } from 'fastify';
import type { Pool } from 'pg';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { DataSource } from 'typeorm';
import { Database } from '../../kernel/database/database';
import { EventStore } from '../../kernel/event-store/event-store';
import type { Metric } from '../../kernel/metrics/metric-source';
import { Resilience } from '../../kernel/resilience/policies';
import { type OpenSagas, type OpenSagaStatus, SagaInstances } from '../../kernel/sagas/saga-instances';
import { Sagas } from '../../kernel/sagas/sagas';
import { LogHistory } from '../../kernel/subscriptions/log-history';
import { type SubscriptionStatus, Subscriptions } from '../../kernel/subscriptions/subscriptions';
import { ModuleMetrics } from './module-metrics';
import { Readiness } from '../readiness';

/** How long a scrape waits for the database, in ms; Prometheus gives up after 10 s by default. */
const patienceMs = 3000;
/** An answer that is not there after this will not come, in ms: its connection hangs. */
const hopelessMs = 60_000;

/** What is in the database; nothing while it is away. */
interface Stored {
  readonly subscriptions: readonly SubscriptionStatus[];
  readonly sagas: Partial<Record<OpenSagaStatus, number>>;
  readonly definitions: readonly OpenSagas[];
  readonly historyChanges?: number;
  readonly business: readonly Metric[];
}
const nothing: Stored = { subscriptions: [], sagas: {}, definitions: [], business: [] };

type Sample = readonly [value: number, ...labels: (string | number)[]];

/**
 * The numbers that the kernel keeps, as Prometheus wants them: read when it asks, in a registry of this app's own.
 * Counters and what is `owned` are those of this process; what comes from the database all replicas tell alike.
 */
@Injectable()
export class Metrics implements OnModuleInit {
  private readonly registry = new Registry();
  private readonly families: (() => void)[] = [];
  private stored = nothing;
  private up = false;
  private asked: { at: number; answer: Promise<Stored | undefined> } | undefined;

  constructor(
    private readonly host: HttpAdapterHost,
    private readonly database: Database,
    private readonly modules: DataSource,
    private readonly log: EventStore,
    private readonly subscriptions: Subscriptions,
    private readonly sagas: SagaInstances,
    private readonly definitions: Sagas,
    private readonly resilience: Resilience,
    private readonly history: LogHistory,
    private readonly ofModules: ModuleMetrics,
    private readonly readiness: Readiness,
  ) {}

  onModuleInit(): void {
    collectDefaultMetrics({ register: this.registry });
    this.describeSubscriptions();
    this.describeLog();
    this.describeResilience();
    this.describeDatabase();
    this.measureBatches();
    this.measureRequests();
    this.ofModules.find();
  }

  /** In the text format 0.0.4. Without a database it tells what the process itself knows, within three seconds or so. */
  async scrape(): Promise<string> {
    const answer = await Promise.race([this.ask(), delay(patienceMs, undefined, { ref: false })]);
    this.up = answer !== undefined;
    this.stored = answer ?? nothing;
    for (const fill of this.families) fill();
    return (await this.registry.metrics()) + this.ofModules.text(this.stored.business);
  }

  private describeSubscriptions(): void {
    const labels = ['subscription', 'segment'];
    const gauge = (name: string, help: string, value: (of: SubscriptionStatus) => number) =>
      this.family(Gauge, `subscription_${name}`, help, labels, () =>
        this.stored.subscriptions.map((each) => [value(each), each.name, each.segment]),
      );
    gauge('position', 'Log position up to which it has handled the events.', ({ position }) => position);
    const lag = (value: 'lag' | 'lagSeconds') => (each: SubscriptionStatus) =>
      each.retiredBy === null ? each[value] : 0;
    gauge('lag_events', 'Events in the log that it has not handled yet; 0 once it is retired.', lag('lag'));
    gauge('lag_seconds', 'How long the oldest event that it has not handled has waited.', lag('lagSeconds'));
    gauge('dead_letters', 'Events that it failed to handle or that wait behind one.', (each) => each.deadLetters);
    gauge('parked_partitions', 'Aggregates that wait behind a dead letter.', (each) => each.parkedPartitions);
    gauge('failed', 'Whether it is a rebuild that failed the last time it was tried (1).', (each) =>
      Number(each.error !== null),
    );
    gauge('paused', 'Whether an operator has paused it (1).', ({ pausedBy }) => Number(pausedBy !== null));

    const work = (value: keyof ReturnType<Subscriptions['work']>[number]) => () =>
      this.subscriptions.work().map((each): Sample => [Number(each[value]), each.name, each.segment]);
    this.family(Gauge, 'subscription_owned', 'Whether this process runs it (1).', labels, work('owned'));
    const waiting = 'Events in hand that wait for the database or for a target that is not ready.';
    this.family(Gauge, 'subscription_waiting', waiting, labels, work('waiting'));
    this.family(Counter, 'subscription_events_total', 'Events that it has handled.', labels, work('handled'));
    this.family(Counter, 'subscription_retries_total', 'Times that it had to try again.', labels, work('retries'));
  }

  private describeLog(): void {
    this.family(Gauge, 'log_position', 'Position of the newest event in the log.', [], () => [
      [this.subscriptions.head],
    ]);
    this.family(Gauge, 'log_history_changes', 'Times that the log lost events, not acknowledged yet.', [], () =>
      this.stored.historyChanges === undefined ? [] : [[this.stored.historyChanges]],
    );
    this.family(Gauge, 'not_ready', 'What keeps this process from doing its work (1), part by part.', ['part'], () =>
      [...this.readiness.obstacles().keys()].map((part) => [1, part]),
    );
    this.family(
      Counter,
      'append_commands_total',
      'Commands whose events went to the log, by what became of them.',
      ['outcome'],
      () => Object.entries(this.log.appendStats.outcomes).map(([outcome, count]) => [count, outcome]),
    );
    this.family(Gauge, 'append_queue_commands', 'Commands that have not been sent to the log yet.', [], () => [
      [this.log.appendStats.queued],
    ]);
    this.family(Gauge, 'sagas', 'Sagas that are under way or wait for a person.', ['status'], () =>
      Object.entries(this.stored.sagas).map(([status, count]) => [count, status]),
    );
    // 0 for a definition that this process knows: the least of all replicas is what nobody can run
    const help = 'Sagas that have not ended and whose definition this process does not know.';
    this.family(Gauge, 'sagas_unknown', help, ['definition', 'version'], () =>
      this.stored.definitions.map(({ definition, version, count }): Sample => {
        const isKnown = this.definitions.definition(definition, version) !== undefined;
        return [isKnown ? 0 : count, definition, version];
      }),
    );
  }

  private describeResilience(): void {
    const breakers = () => this.resilience.breakers();
    this.family(
      Gauge,
      'circuit_breaker_state',
      'The state of the circuit breaker is the one with a 1.',
      ['breaker', 'state'],
      () =>
        breakers().flatMap(({ name, state }) =>
          ['CLOSED', 'OPEN', 'HALF_OPEN'].map((each): Sample => [Number(each === state), name, each.toLowerCase()]),
        ),
    );
    this.family(Counter, 'circuit_breaker_calls_total', 'Calls that it let through.', ['breaker'], () =>
      breakers().map(({ name, calls }) => [calls, name]),
    );
    this.family(Counter, 'circuit_breaker_refusals_total', 'Calls that it refused.', ['breaker'], () =>
      breakers().map(({ name, refusals }) => [refusals, name]),
    );
  }

  private describeDatabase(): void {
    const { pool, control, watch, appends, relaxed } = this.database;
    // of the driver's, TypeORM declares neither
    const { master } = this.modules.driver as unknown as { master: Pool };
    const pools = Object.entries({ reads: pool, control, watch, appends, derived: relaxed, modules: master });
    this.family(Gauge, 'database_up', 'Whether the database answered this scrape (1).', [], () => [[Number(this.up)]]);
    this.family(Gauge, 'database_connections', 'Open connections, by pool.', ['pool', 'state'], () =>
      pools.flatMap(([name, { totalCount, idleCount }]): Sample[] => [
        [totalCount - idleCount, name, 'busy'],
        [idleCount, name, 'idle'],
      ]),
    );
    this.family(Gauge, 'database_waiting', 'Callers that wait for a connection, by pool.', ['pool'], () =>
      pools.map(([name, { waitingCount }]) => [waitingCount, name]),
    );
  }

  private measureBatches(): void {
    const size = new Histogram({
      name: 'orderloom_append_batch_commands',
      help: 'Commands that shared one commit of the log.',
      buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256],
      registers: [this.registry],
    });
    const duration = new Histogram({
      name: 'orderloom_append_duration_seconds',
      help: 'How long a batch took to be committed, without its wait in the queue.',
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
      registers: [this.registry],
    });
    this.log.onBatch((commands, ms) => {
      size.observe(commands);
      duration.observe(ms / 1000);
    });
  }

  private measureRequests(): void {
    const requests = new Histogram({
      name: 'orderloom_http_request_duration_seconds',
      help: 'How long HTTP requests took to answer, by route pattern.',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers: [this.registry],
    });
    const fastify = this.host.httpAdapter.getInstance<FastifyInstance>();
    fastify.addHook('onResponse', ({ method, routeOptions }, reply, done) => {
      // never the URL that was sent: each would be a series of its own
      const route = routeOptions.url ?? 'none';
      requests.observe({ method, route, status: reply.statusCode }, reply.elapsedTime / 1000);
      done();
    });
  }

  /** Series that each scrape fills anew. What has no sample is absent: an old value would pass for a current one. */
  private family(
    type: typeof Gauge | typeof Counter,
    name: string,
    help: string,
    labelNames: string[],
    samples: () => readonly Sample[],
  ): void {
    const metric = new type({ name: `orderloom_${name}`, help, labelNames, registers: [this.registry] });
    this.families.push(() => {
      metric.reset();
      for (const [value, ...labels] of samples()) metric.inc(zip(labelNames, labels), value);
    });
  }

  /** One question at a time, however many scrape. */
  private ask(): Promise<Stored | undefined> {
    if (this.asked && Date.now() < this.asked.at + hopelessMs) return this.asked.answer;
    const answer: Promise<Stored | undefined> = Promise.all([
      this.subscriptions.status(),
      this.sagas.open(),
      this.sagas.openByDefinition(),
      this.history.unacknowledged(),
      this.ofModules.read(),
    ])
      .then(([subscriptions, sagas, definitions, historyChanges, business]) => ({
        subscriptions,
        sagas,
        definitions,
        historyChanges,
        business,
      }))
      .catch(() => undefined)
      .finally(() => {
        if (this.asked?.answer === answer) this.asked = undefined;
      });
    this.asked = { at: Date.now(), answer };
    return answer;
  }
}

function zip(names: readonly string[], values: readonly (string | number)[]): Record<string, string | number> {
  return Object.fromEntries(names.map((name, nth) => [name, values[nth]!]));
}
