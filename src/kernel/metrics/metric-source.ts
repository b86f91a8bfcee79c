import { Injectable, SetMetadata } from '@nestjs/common';

interface Family {
  /** Without the prefix `orderloom_`. A counter's ends in `_total`, a duration's in `_seconds`. */
  readonly name: string;
  /** A sentence. */
  readonly help: string;
}

/** One value of a family, by its labels. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A distribution. */
export interface Distribution {
  readonly labels: Readonly<Record<string, string>>;
  /** How many observations were at most `le`, in ascending order of it. The last has `le` Infinity, and counts all. */
  readonly buckets: readonly { readonly le: number; readonly count: number }[];
  readonly sum: number;
}

/** Values of what Prometheus calls a family. */
export type Metric =
  | (Family & { readonly type: 'gauge' | 'counter'; readonly samples: readonly Sample[] })
  | (Family & { readonly type: 'histogram'; readonly distributions: readonly Distribution[] });

/** What a module counts of its business. Whoever shows metrics finds it by {@link BusinessMetrics}. */
export interface MetricSource {
  /** Called at each scrape, so its cost must not grow with the number of orders. All replicas give the same answer. */
  metrics(): Promise<readonly Metric[]>;
}

export const METRIC_SOURCE = 'kernel:metric-source';

/** Marks a provider as a {@link MetricSource}. */
export function BusinessMetrics(): ClassDecorator {
  return (target) => {
    Injectable()(target);
    SetMetadata(METRIC_SOURCE, true)(target);
  };
}
