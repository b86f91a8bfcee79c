import { Command, CommandHandler, type ICommandHandler, QueryBus } from '@nestjs/cqrs';
import { currentContext } from '../../../kernel/context';
import { DomainError } from '../../../kernel/domain-error';
import { PersonalData } from '../../../kernel/personal-data/personal-data';
import type { Sealed } from '../../../kernel/personal-data/sealed';
import { GetUser } from '../../users/contracts/get-user';
import {
  type Address,
  type Customer,
  type ExpectedTotal,
  type Guest,
  type Metadata,
  personBehind,
} from '../domain/order';
import { OrderStreams, type OrderVersion } from '../order-streams';
import { linesOf, offersFor, type RequestedLine } from './offers';

export interface NewOrder {
  /** An account's id, or what is known of a guest. */
  readonly customer: { readonly userId: string } | { readonly guest: Guest };
  readonly lines: readonly RequestedLine[];
  readonly orderedAt: Date;
  readonly reference?: string;
  readonly shippingAddress?: Address;
  readonly paymentMethod?: string;
  readonly metadata?: Metadata;
}

/**
 * @throws DomainError `user-unknown` (not found), `product-unknown`, `mixed-currency` (invalid), `unavailable`,
 *   `price-changed` (conflict)
 */
export class CreateOrder extends Command<OrderVersion> {
  constructor(
    readonly order: NewOrder,
    readonly submit: boolean,
    readonly expectedTotal?: ExpectedTotal,
  ) {
    super();
  }
}

const unsealed = { person: '', sealed: '', members: [] } satisfies Sealed<Guest & Address & Metadata>;

@CommandHandler(CreateOrder)
export class CreateOrderHandler implements ICommandHandler<CreateOrder> {
  constructor(
    private readonly orders: OrderStreams,
    private readonly queries: QueryBus,
    private readonly personalData: PersonalData,
  ) {}

  async execute({ order, submit, expectedTotal }: CreateOrder): Promise<OrderVersion> {
    const orderId = currentContext().nextId('order');
    const { customer: who, shippingAddress: address, metadata: given, lines: requested, orderedAt, ...rest } = order;
    // A request told again finds its order made, whatever has happened to stock and prices since.
    const known = await this.orders.load(orderId);
    if (known.version > 0) {
      await this.orders.assertMadeByThisRequest(orderId);
      return { orderId, version: known.version };
    }

    if ('userId' in who) await this.assertUser(who.userId);
    const offers = await offersFor(this.queries, { status: 'draft', lines: [] }, requested);
    const { lines, currency } = linesOf(orderId, requested, offers);
    const content = { orderId, ...rest, currency, lines, orderedAt: orderedAt.toISOString() };
    const metadata = given && Object.keys(given).length > 0 ? given : undefined;
    const make = (customer: Customer, shippingAddress?: Sealed<Address>, metadata?: Sealed<Metadata>) => {
      return {
        type: 'create',
        order: { ...content, customer, shippingAddress, metadata },
        submit,
        offers,
        expectedTotal,
      } as const;
    };
    const customerOf = (person: Sealed<Guest>): Customer =>
      'userId' in who ? { kind: 'account', userId: who.userId } : { kind: 'guest', person };
    // Sealing makes a key for a person of whom nothing was known. What is refused leaves nothing behind.
    this.orders.simulate({ status: 'none' }, make(customerOf(unsealed), address && unsealed, metadata && unsealed));
    const customer = customerOf('guest' in who ? await this.personalData.seal(orderId, who.guest) : unsealed);
    const person = personBehind({ orderId, customer });
    const { version } = await this.orders.decide(
      orderId,
      make(
        customer,
        address && (await this.personalData.seal(person, address)),
        metadata && (await this.personalData.sealWhole(person, metadata)),
      ),
    );
    return { orderId, version };
  }

  private async assertUser(userId: string): Promise<void> {
    const user = await this.queries.execute(new GetUser(userId));
    if (user?.active) return;
    throw new DomainError('not-found', 'user-unknown', `There is no active user ${userId}.`);
  }
}
