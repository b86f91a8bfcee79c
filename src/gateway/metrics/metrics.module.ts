import { Module } from '@nestjs/common';
import { Metrics } from './metrics';
import { MetricsController } from './metrics.controller';

/** What Prometheus sees; without this module nothing is measured. */
@Module({ controllers: [MetricsController], providers: [Metrics] })
export class MetricsModule {}
