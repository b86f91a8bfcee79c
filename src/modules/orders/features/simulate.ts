import { type IQueryHandler, Query, QueryBus, QueryHandler } from '@nestjs/cqrs';
import { DomainError } from '../../../kernel/domain-error';
import { deriveId } from '../../../kernel/ids';
import { PersonalData } from '../../../kernel/personal-data/personal-data';
import {
  type Address,
  type By,
  type OrderCommand,
  type OrderEvent,
  type OrderStatus,
  personBehind,
  statusOf,
} from '../domain/order';
import { totalMinor } from '../domain/lines';
import { type KnownOrder, OrderStreams } from '../order-streams';
import { linesOf, offersFor } from './offers';

export type Wish =
  | { readonly action: 'addLine'; readonly productId: string; readonly quantity: number }
  | { readonly action: 'changeLine'; readonly lineId: string; readonly quantity: number }
  | { readonly action: 'removeLine'; readonly lineId: string }
  | { readonly action: 'setShippingAddress'; readonly address: Address }
  | { readonly action: 'submit'; readonly paymentMethod?: string }
  | { readonly action: 'cancel'; readonly reason: string };

export interface SimulatedWish {
  readonly action: Wish['action'];
  readonly events: readonly OrderEvent[];
  /** Why it would be refused; the ones after it are tried on the state before it. */
  readonly refusal?: { readonly code: string; readonly message: string };
}

export interface Simulation {
  readonly results: readonly SimulatedWish[];
  readonly status: OrderStatus;
  readonly totalMinor: number;
  readonly currency: string;
}

/** What these commands would do to an order, one after the other; commits nothing. */
export class SimulateOrder extends Query<Simulation> {
  constructor(
    readonly orderId: string,
    readonly by: By,
    readonly wishes: readonly Wish[],
  ) {
    super();
  }
}

@QueryHandler(SimulateOrder)
export class SimulateOrderHandler implements IQueryHandler<SimulateOrder> {
  constructor(
    private readonly orders: OrderStreams,
    private readonly queries: QueryBus,
    private readonly personalData: PersonalData,
  ) {}

  async execute({ orderId, by, wishes }: SimulateOrder): Promise<Simulation> {
    let { state: order } = await this.orders.loadFor(by, orderId);
    const results: SimulatedWish[] = [];
    for (const [nth, wish] of wishes.entries()) {
      try {
        const { state, events } = this.orders.simulate(order, await this.command(order, by, wish, nth));
        // no command takes an order back to where it was none
        if (state.status !== 'none') order = state;
        results.push({ action: wish.action, events });
      } catch (error) {
        if (!(error instanceof DomainError)) throw error;
        results.push({ action: wish.action, events: [], refusal: { code: error.code, message: error.message } });
      }
    }
    return { results, status: statusOf(order), totalMinor: totalMinor(order.lines), currency: order.currency };
  }

  private async command(order: KnownOrder, by: By, wish: Wish, nth: number): Promise<OrderCommand> {
    const { orderId } = order;
    switch (wish.action) {
      case 'addLine': {
        const offers = await offersFor(this.queries, order, [wish]);
        const { lines, currency } = linesOf(orderId, [wish], offers);
        const line = { ...lines[0]!, lineId: deriveId(orderId, `simulated ${nth}`) };
        return { type: 'add-line', by, line, currency, offers };
      }
      case 'changeLine': {
        const { lineId, quantity } = wish;
        return { type: 'change-line', by, lineId, quantity, offers: await offersFor(this.queries, order) };
      }
      case 'removeLine':
        return { type: 'remove-line', by, lineId: wish.lineId, offers: await offersFor(this.queries, order) };
      case 'setShippingAddress':
        // as it would stand in the log; at most this makes the person's key
        return { type: 'set-address', by, address: await this.personalData.seal(personBehind(order), wish.address) };
      case 'submit': {
        const { paymentMethod } = wish;
        return { type: 'submit', by, paymentMethod, offers: await offersFor(this.queries, order) };
      }
      case 'cancel':
        return { type: 'cancel', by, reason: wish.reason };
    }
  }
}
