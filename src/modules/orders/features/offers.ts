import type { QueryBus } from '@nestjs/cqrs';
import { DomainError } from '../../../kernel/domain-error';
import { deriveId } from '../../../kernel/ids';
import { GetProducts } from '../../products/contracts/get-products';
import { type Line, mixedCurrency, type Offer, type Offers } from '../domain/lines';
import type { KnownOrder } from '../order-streams';

export interface RequestedLine {
  readonly productId: string;
  readonly quantity: number;
  /** Instead of the catalogue's price; integer minor units. */
  readonly unitPrice?: { readonly amountMinor: number; readonly currency: string };
}

/** What the catalogue says now of the products of a draft, and of those that are to be added. Nothing else is priced. */
export async function offersFor(
  queries: QueryBus,
  order: Pick<KnownOrder, 'status' | 'lines'>,
  added: readonly RequestedLine[] = [],
): Promise<Offers> {
  const lines = order.status === 'draft' ? [...order.lines, ...added] : added;
  const productIds = [...new Set(lines.map(({ productId }) => productId))];
  if (productIds.length === 0) return new Map();
  const products = await queries.execute(new GetProducts(productIds));
  const offers = products.map(({ id, sku, name, priceMinor, currency, active, available }): [string, Offer] => {
    return [id, { sku, name, unitPriceMinor: priceMinor, currency, available: active ? available : 0 }];
  });
  return new Map(offers);
}

/** @throws DomainError `product-unknown`, `mixed-currency` (invalid) */
export function linesOf(
  orderId: string,
  requested: readonly RequestedLine[],
  offers: Offers,
): { lines: Line[]; currency: string } {
  assertKnown(requested, offers);
  const lines: Line[] = [];
  let currency: string | undefined;
  for (const [nth, { productId, quantity, unitPrice }] of requested.entries()) {
    const { sku, name, ...offer } = offers.get(productId)!;
    const price = unitPrice ?? { amountMinor: offer.unitPriceMinor, currency: offer.currency };
    currency ??= price.currency;
    if (price.currency !== currency) throw mixedCurrency(currency, price.currency);
    const lineId = deriveId(orderId, `line ${nth}`);
    const line: Line = { lineId, productId, sku, name, quantity, unitPriceMinor: price.amountMinor };
    lines.push(unitPrice ? { ...line, priceAgreed: true } : line);
  }
  return { lines, currency: currency ?? 'EUR' };
}

function assertKnown(requested: readonly RequestedLine[], offers: Offers): void {
  const errors = requested.flatMap(({ productId }, nth) =>
    offers.has(productId) ? [] : [{ pointer: `/lines/${nth}/productId`, message: `there is no product ${productId}` }],
  );
  if (errors.length === 0) return;
  throw new DomainError('invalid', 'product-unknown', `${errors[0]!.message.replace('there', 'There')}.`, { errors });
}
