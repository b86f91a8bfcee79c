import { Database } from '../../kernel/database/database';
import type { StoredEvent } from '../../kernel/event-store/event';
import { type Effect, Figures } from '../../kernel/metrics/figures';
import { BusinessMetrics, type Metric, type MetricSource } from '../../kernel/metrics/metric-source';
import { ProjectionOf } from '../../kernel/subscriptions/projection';
import type { PaymentCompleted } from './contracts/payment-events';

const outcomes = { 'payment.completed': 'completed', 'payment.failed': 'failed', 'payment.refunded': 'refunded' };

/** What was taken and given back, by currency, and how payments ended. */
@BusinessMetrics()
@ProjectionOf('payments.figures', { awaited: false })
export class PaymentFigures extends Figures<never> implements MetricSource {
  readonly eventTypes = Object.keys(outcomes);

  constructor(database: Database) {
    super('payments.figures', database);
  }

  protected subjectOf(event: StoredEvent): string {
    return event.aggregateId;
  }

  protected effectOf({ eventType, payload }: StoredEvent): Effect<never> {
    const outcome = outcomes[eventType as keyof typeof outcomes];
    const ended = ['outcome', outcome, 1] as const;
    if (outcome === 'failed') return { changes: [ended] };
    const { currency, amountMinor } = payload as unknown as PaymentCompleted;
    return { changes: [ended, [outcome, currency, amountMinor]] };
  }

  async metrics(): Promise<readonly Metric[]> {
    const figures = await this.read('outcome', 'completed', 'refunded');
    const samples = (figure: string, label: string) =>
      [...figures.get(figure)!].map(([each, value]) => ({ labels: { [label]: each }, value }));
    return [
      {
        name: 'payments_total',
        type: 'counter',
        help: 'Payments that were completed, failed or were refunded.',
        samples: samples('outcome', 'outcome'),
      },
      {
        name: 'revenue_minor_total',
        type: 'counter',
        help: 'What completed payments took, in minor units of the currency; refunds are not taken off.',
        samples: samples('completed', 'currency'),
      },
      {
        name: 'refunds_minor_total',
        type: 'counter',
        help: 'What was given back, in minor units of the currency.',
        samples: samples('refunded', 'currency'),
      },
    ];
  }
}
