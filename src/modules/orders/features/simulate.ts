import { type IQueryHandler, Query, QueryBus, QueryHandler } from '@nestjs/cqrs';
import { DomainError } from '../../../kernel/domain-error';
import { deriveId } from '../../../kernel/ids';
import { PersonalData } from '../../../kernel/personal-data/personal-data';
import type { Sealed } from '../../../kernel/personal-data/sealed';
import {
  type Address,
  assertMay,
  type By,
  type OrderCommand,
  type OrderEvent,
  type OrderStatus,
  personBehind,
  totalMinor,
  unknownOrder,
} from '../domain/order';
import { OrderStreams } from '../order-streams';
import { priceLines } from './create-order';

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
    const carriedOut: OrderCommand[] = [];
    const results: SimulatedWish[] = [];
    for (const [nth, wish] of wishes.entries()) {
      try {
        const command = await this.command(orderId, by, wish, nth);
        const before = await this.orders.simulate(orderId, carriedOut);
        const after = await this.orders.simulate(orderId, [...carriedOut, command]);
        carriedOut.push(command);
        results.push({ action: wish.action, events: after.events.slice(before.events.length) });
      } catch (error) {
        // somebody else's order, or none: there is nothing to simulate
        if (!(error instanceof DomainError) || error.code === 'order-unknown') throw error;
        results.push({ action: wish.action, events: [], refusal: { code: error.code, message: error.message } });
      }
    }
    const { state } = await this.orders.simulate(orderId, carriedOut);
    if (state.status === 'none') throw unknownOrder();
    return { results, status: state.status, totalMinor: totalMinor(state.lines), currency: state.currency };
  }

  private async command(orderId: string, by: By, wish: Wish, nth: number): Promise<OrderCommand> {
    switch (wish.action) {
      case 'addLine': {
        const { lines, currency } = await priceLines(this.queries, orderId, [wish]);
        return {
          type: 'add-line',
          by,
          line: { ...lines[0]!, lineId: deriveId(orderId, `simulated ${nth}`) },
          currency,
        };
      }
      case 'changeLine':
        return { type: 'change-line', by, lineId: wish.lineId, quantity: wish.quantity };
      case 'removeLine':
        return { type: 'remove-line', by, lineId: wish.lineId };
      case 'setShippingAddress':
        return { type: 'set-address', by, address: await this.seal(orderId, by, wish.address) };
      case 'submit':
        return { type: 'submit', by, paymentMethod: wish.paymentMethod };
      case 'cancel':
        return { type: 'cancel', by, reason: wish.reason };
    }
  }

  /** As it would stand in the log; at most it makes the person's key. */
  private async seal(orderId: string, by: By, address: Address): Promise<Sealed<Address>> {
    const order = (await this.orders.find(orderId))?.state;
    if (!order || order.status === 'none') throw unknownOrder();
    assertMay(by, order);
    return this.personalData.seal(personBehind(order), address);
  }
}
