import { Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { Metrics } from './metrics';
import { ModuleMetrics } from './module-metrics';
import { MetricsController } from './metrics.controller';

/** What Prometheus sees; without this module nothing is measured. */
@Module({ imports: [DiscoveryModule], controllers: [MetricsController], providers: [Metrics, ModuleMetrics] })
export class MetricsModule {}
