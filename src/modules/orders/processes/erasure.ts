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
    if (!(await this.subscriptions.projected(await this.events.head(), 10_000))) {
      throw new Error('The views are behind: trying again');
    }
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
}
