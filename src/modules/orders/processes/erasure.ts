import type { IEventHandler } from '@nestjs/cqrs';
import { Database } from '../../../kernel/database/database';
import { DomainError } from '../../../kernel/domain-error';
import { EventStore } from '../../../kernel/event-store/event-store';
import { EventType } from '../../../kernel/event-store/event-type';
import { Reaction } from '../../../kernel/subscriptions/reaction';
import { Subscriptions } from '../../../kernel/subscriptions/subscriptions';
import { OrderStreams } from '../order-streams';

@EventType('user.erased')
class UserErased {
  constructor(readonly userId: string) {}
}

/**
 * Nobody knows any more where these orders should go: those that have not left are cancelled. One that is submitted at
 * this very moment fails at its shipment, which can no longer read the address, and is taken back all the same.
 */
@Reaction({ name: 'orders.cancel-for-erased' }, UserErased)
export class CancelOrdersOfErased implements IEventHandler<UserErased> {
  constructor(
    private readonly database: Database,
    private readonly events: EventStore,
    private readonly subscriptions: Subscriptions,
    private readonly orders: OrderStreams,
  ) {}

  async handle({ userId }: UserErased): Promise<void> {
    await this.upToDate();
    const { rows } = await this.database.pool.query<{ id: string }>(
      `select v.id from orders.orders_view v where v.customer_id = $1
         and v.status in ('draft', 'submitted', 'reserved', 'paid', 'fulfilling') order by v.id`,
      [userId],
    );
    for (const { id } of rows) {
      try {
        const by = { userId, staff: true };
        await this.orders.decide(id, { type: 'cancel', by, reason: 'The account was erased.' });
      } catch (error) {
        // it has left in the meantime
        if (!(error instanceof DomainError) || error.code !== 'order-shipped') throw error;
      }
    }
  }
  /** Waits for the view, also while it is paused or has something parked: no order may be overlooked. */
  private async upToDate(): Promise<void> {
    const head = await this.events.head();
    await this.subscriptions.projected(head, 5000);
    const views = (await this.subscriptions.status()).filter(({ name }) => name === 'orders.order-details');
    if (views.every(({ position, parkedPartitions }) => position >= head && parkedPartitions === 0)) return;
    throw new ViewBehind('orders.order-details is behind, paused, or has dead letters: waiting for it');
  }
}

class ViewBehind extends Error {
  readonly retryAfterMs = 1000;
}
