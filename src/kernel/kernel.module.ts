import { type DynamicModule, Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { CqrsModule } from '@nestjs/cqrs';
import type { PoolSizes } from './database/database';
import { DatabaseModule } from './database/database.module';
import { EventStore } from './event-store/event-store';
import { PersonalData } from './personal-data/personal-data';
import { ResilienceModule } from './resilience/resilience.module';
import { SagaInstances, SagaInstancesProjection } from './sagas/saga-instances';
import { SagaRunner, SagaTimers } from './sagas/saga-runner';
import { Sagas } from './sagas/sagas';
import { DeadLetters } from './subscriptions/dead-letters';
import { LogHistory } from './subscriptions/log-history';
import type { RetryOptions } from './subscriptions/runner';
import { TracedCommands } from './tracing/traced-commands';
import { defaultRetry, NOTIFY, RETRY_OPTIONS, Subscriptions } from './subscriptions/subscriptions';

export interface KernelOptions {
  readonly databaseUrl: string;
  readonly pools?: PoolSizes;
  readonly retry?: Partial<RetryOptions>;
  /** Whether processes tell each other of their commits. Default: true; without it they find out by polling. */
  readonly notify?: boolean;
}

/** Mechanism that knows no shop: the log, its subscriptions, sagas, and resilience towards the outside. */
@Module({})
export class KernelModule {
  static forRoot({ databaseUrl, pools, retry, notify = true }: KernelOptions): DynamicModule {
    return {
      module: KernelModule,
      global: true,
      imports: [CqrsModule.forRoot(), DatabaseModule.forRoot(databaseUrl, pools), DiscoveryModule, ResilienceModule],
      providers: [
        { provide: RETRY_OPTIONS, useValue: { ...defaultRetry, ...retry } },
        { provide: NOTIFY, useValue: notify },
        EventStore,
        PersonalData,
        LogHistory,
        Subscriptions,
        DeadLetters,
        Sagas,
        SagaInstances,
        SagaInstancesProjection,
        SagaRunner,
        SagaTimers,
        TracedCommands,
      ],
      exports: [CqrsModule, EventStore, PersonalData, LogHistory, Subscriptions, DeadLetters, Sagas, SagaInstances],
    };
  }
}
