import { Injectable, Logger } from '@nestjs/common';
import { DiscoveryService } from '@nestjs/core';
import { METRIC_SOURCE, type Metric, type MetricSource } from '../../kernel/metrics/metric-source';
import { RepeatedWarning } from '../../kernel/repeated-warning';

type Labels = Readonly<Record<string, string | number>>;

/** What the modules count of their business, in Prometheus' text format 0.0.4. */
@Injectable()
export class ModuleMetrics {
  private readonly trouble = new RepeatedWarning(new Logger('Metrics'), 'A module cannot tell its metrics');
  private sources: readonly MetricSource[] = [];

  constructor(private readonly discovery: DiscoveryService) {}

  /** Once the modules are there. */
  find(): void {
    this.sources = this.discovery
      .getProviders()
      .filter(({ metatype }) => typeof metatype === 'function' && Reflect.hasMetadata(METRIC_SOURCE, metatype))
      .map(({ instance }) => instance as MetricSource);
  }

  /** Those of a module that fails are absent, and the others are told. */
  async read(): Promise<readonly Metric[]> {
    const answers = await Promise.allSettled(this.sources.map(async (source) => source.metrics()));
    const failed = answers.find((answer) => answer.status === 'rejected');
    if (failed) this.trouble.warn(failed.reason);
    else this.trouble.over();
    return answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
  }

  text(metrics: readonly Metric[]): string {
    return metrics.map(textOf).join('');
  }
}

function textOf(metric: Metric): string {
  const name = `orderloom_${metric.name}`;
  const lines = metric.type === 'histogram' ? distributionsOf(name, metric) : samplesOf(name, metric);
  return [`\n# HELP ${name} ${metric.help}`, `# TYPE ${name} ${metric.type}`, ...lines, ''].join('\n');
}

function samplesOf(name: string, { samples }: Extract<Metric, { samples: unknown }>): string[] {
  return samples.map(({ labels, value }) => line(name, labels, value));
}

function distributionsOf(name: string, { distributions }: Extract<Metric, { distributions: unknown }>): string[] {
  return distributions.flatMap(({ labels, buckets, sum }) => [
    ...buckets.map(({ le, count }) =>
      line(`${name}_bucket`, { ...labels, le: le === Infinity ? '+Inf' : String(le) }, count),
    ),
    line(`${name}_sum`, labels, sum),
    line(`${name}_count`, labels, buckets.at(-1)?.count ?? 0),
  ]);
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(String(text))}"`);
  return `${name}{${pairs.join()}} ${value}`;
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
