import { Command, CommandHandler, type ICommandHandler, QueryBus } from '@nestjs/cqrs';
import { currentContext } from '../../../kernel/context';
import { DomainError } from '../../../kernel/domain-error';
import { deriveId } from '../../../kernel/ids';
import { PersonalData } from '../../../kernel/personal-data/personal-data';
import { GetProducts, type ProductCard } from '../../products/contracts/get-products';
import { GetUser } from '../../users/contracts/get-user';
import { type Address, type Customer, type Guest, type Line, mixedCurrency, personBehind } from '../domain/order';
import { OrderStreams, type OrderVersion } from '../order-streams';

export interface RequestedLine {
  readonly productId: string;
  readonly quantity: number;
  /** Instead of the catalogue's price; integer minor units. */
  readonly unitPrice?: { readonly amountMinor: number; readonly currency: string };
}

export interface NewOrder {
  /** An account's id, or what is known of a guest. */
  readonly customer: { readonly userId: string } | { readonly guest: Guest };
  readonly lines: readonly RequestedLine[];
  readonly orderedAt: Date;
  readonly reference?: string;
  readonly shippingAddress?: Address;
  readonly paymentMethod?: string;
}

/**
 * @throws DomainError `user-unknown` (not found), `product-unknown`, `mixed-currency` (invalid), `unavailable` (conflict)
 */
export class CreateOrder extends Command<OrderVersion> {
  constructor(
    readonly order: NewOrder,
    readonly submit: boolean,
  ) {
    super();
  }
}

@CommandHandler(CreateOrder)
export class CreateOrderHandler implements ICommandHandler<CreateOrder> {
  constructor(
    private readonly orders: OrderStreams,
    private readonly queries: QueryBus,
    private readonly personalData: PersonalData,
  ) {}

  async execute({ order, submit }: CreateOrder): Promise<OrderVersion> {
    const orderId = currentContext().nextId('order');
    const { customer: who, shippingAddress: address, lines: requested, orderedAt, ...rest } = order;
    // A request told again finds its order made, whatever has happened to stock and prices since.
    const known = await this.orders.load(orderId);
    if (known.version > 0) {
      await this.orders.assertMadeByThisRequest(orderId);
      return { orderId, version: known.version };
    }

    if ('userId' in who) await this.assertUser(who.userId);
    const { lines, currency } = await priceLines(this.queries, orderId, requested);
    const customer: Customer =
      'userId' in who
        ? { kind: 'account', userId: who.userId }
        : { kind: 'guest', person: await this.personalData.seal(orderId, who.guest) };
    const person = personBehind({ orderId, customer });
    const shippingAddress = address && (await this.personalData.seal(person, address));
    const at = orderedAt.toISOString();
    const created = { orderId, ...rest, customer, shippingAddress, currency, lines, orderedAt: at };
    const { version } = await this.orders.decide(orderId, { type: 'create', order: created, submit });
    return { orderId, version };
  }

  private async assertUser(userId: string): Promise<void> {
    const user = await this.queries.execute(new GetUser(userId));
    if (user?.active) return;
    throw new DomainError('not-found', 'user-unknown', `There is no active user ${userId}.`);
  }
}

/** Looks products up: that they exist, are for sale and there are enough of them, and what they cost. */
export async function priceLines(
  queries: QueryBus,
  orderId: string,
  requested: readonly RequestedLine[],
): Promise<{ lines: Line[]; currency: string }> {
  if (requested.length === 0) return { lines: [], currency: 'EUR' };
  const products = new Map<string, ProductCard>();
  const found = await queries.execute(new GetProducts([...new Set(requested.map((line) => line.productId))]));
  for (const product of found) products.set(product.id, product);
  assertKnown(requested, products);
  assertAvailable(requested, products);

  const lines: Line[] = [];
  let currency: string | undefined;
  for (const [nth, { productId, quantity, unitPrice }] of requested.entries()) {
    const product = products.get(productId)!;
    const price = unitPrice ?? { amountMinor: product.priceMinor, currency: product.currency };
    currency ??= price.currency;
    if (price.currency !== currency) throw mixedCurrency(currency, price.currency);
    const { sku, name } = product;
    const lineId = deriveId(orderId, `line ${nth}`);
    lines.push({ lineId, productId, sku, name, quantity, unitPriceMinor: price.amountMinor });
  }
  return { lines, currency: currency! };
}

function assertKnown(requested: readonly RequestedLine[], products: ReadonlyMap<string, ProductCard>): void {
  const errors = requested.flatMap(({ productId }, nth) =>
    products.has(productId)
      ? []
      : [{ pointer: `/lines/${nth}/productId`, message: `there is no product ${productId}` }],
  );
  if (errors.length === 0) return;
  throw new DomainError('invalid', 'product-unknown', `${errors[0]!.message.replace('there', 'There')}.`, { errors });
}

function assertAvailable(requested: readonly RequestedLine[], products: ReadonlyMap<string, ProductCard>): void {
  const wanted = new Map<string, number>();
  for (const { productId, quantity } of requested) wanted.set(productId, (wanted.get(productId) ?? 0) + quantity);
  const short = [...wanted].flatMap(([productId, quantity]) => {
    const { sku, active, available } = products.get(productId)!;
    const left = active ? available : 0;
    return left >= quantity ? [] : [{ productId, sku, requested: quantity, available: left }];
  });
  if (short.length === 0) return;
  const list = short.map(({ sku, requested, available }) => `${sku} (${requested} wanted, ${available} available)`);
  throw new DomainError('conflict', 'unavailable', `Not available: ${list.join(', ')}.`, { short });
}
